"""The window in which a repeated record is known again.

A key is a record's source and id. Two generations of key → place map the newest records, in memory, at 12 to 20 bytes
each; a whole batch is looked up and put in by a few calls into C. A hit is only a hint: what decides are the keys and
leaf hashes in the spool's table `recent`, so nothing is ever refused, and no repeat missed, for a hash's sake. The
window outlives the payloads, and is rebuilt from that table at start.

It covers at least the newest `records` / 2 records that are younger than `seconds`, at most `records` of twice that
age: when the younger generation is half full, or `seconds` old, it becomes the older one and the older is forgotten.
Where keys are long, `stored` bytes of them in the spool bound it instead.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from mmap import mmap
from typing import Final

from meterfabric_protocol.limits import DEFAULT
from meterfabric_protocol.merkle import HASH_BYTES

from ._places import holds_none, places_of, put_all
from .spool.rows import RecentRow

_ROWS_CACHED: Final = 4
_SLOT_BYTES: Final = 8
_MOST_BATCHES: Final = 2**24 - 1
"""Places that a slot has bits for."""


class _Generation:
    """Keys of some batches in a row, from the batch `first_seq` on, and where each is."""

    def __init__(self, records: int, first_seq: int, started: float) -> None:
        """`records` is how many keys it must take; `started` the spool clock's reading at its first batch."""
        self.first_seq = first_seq
        self.started = started
        self.count = 0
        self.stored = 0
        # At most three quarters full, or probing takes long. Memory of its own that the system gives as it is touched.
        self._table = mmap(-1, (1 << (records * 4 // 3).bit_length()) * _SLOT_BYTES)

    def knows_none(self, keys: list[str]) -> bool:
        return not self.count or holds_none(self._table, keys)

    def add(self, seq: int, keys: list[str]) -> bool:
        self.count += len(keys)
        return put_all(self._table, keys, seq - self.first_seq)

    def places(self, key: str) -> list[int]:
        return [self.first_seq + place for place in places_of(self._table, key)]


class Window:
    """Which records were accepted lately.

    `records`, `seconds` and `stored` as in the module; `load(seq)` reads a row of `recent` (None where it is gone).
    Batches are numbered by `seq`, rising; a batch has at most `batch_records`.
    """

    def __init__(
        self,
        records: int,
        seconds: float,
        stored: int,
        load: Callable[[int], RecentRow | None],
        batch_records: int = DEFAULT.batch_records,
    ) -> None:
        self._half = max(1, records // 2)
        self._seconds = seconds
        self._stored = stored // 2
        self._load = load
        self._most = self._half + batch_records
        self._young = _Generation(self._most, 0, 0.0)
        self._old: _Generation | None = None
        self._last_seq = 0
        self._rows: OrderedDict[int, dict[str, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return self._young.count + (self._old.count if self._old else 0)

    def add(self, seq: int, sealed_at: float, keys: list[str]) -> bool:
        """Take in a batch's keys; False where two of them may be the same."""
        self._last_seq = seq
        young = self._young
        full = (
            young.count >= self._half or young.stored >= self._stored or seq - young.first_seq >= _MOST_BATCHES
        ) and young.count
        if full or (young.count and sealed_at - young.started > self._seconds):
            self._old, young = young, _Generation(self._most, seq, sealed_at)
            self._young = young
        elif not young.count:
            young.first_seq, young.started = seq, sealed_at
        return young.add(seq, keys)

    def stored(self, size: int) -> None:
        """A batch's keys came to take `size` bytes in the spool."""
        self._young.stored += size

    def age(self, now: float) -> None:
        """Forget what is past its time though nothing new came."""
        if now - self._young.started > self._seconds and len(self):
            self._old, self._young = self._young, _Generation(self._most, self._last_seq + 1, now)

    @property
    def first_seq(self) -> int:
        """Rows of `recent` below this are past the window."""
        return self._old.first_seq if self._old and self._old.count else self._young.first_seq

    def knows_none(self, keys: list[str]) -> bool:
        """Whether surely none of these was seen: the way almost every batch goes."""
        return self._young.knows_none(keys) and (self._old is None or self._old.knows_none(keys))

    def places(self, key: str) -> Iterator[int]:
        """Batches that may hold this key, by seq."""
        yield from self._young.places(key)
        if self._old is not None:
            yield from self._old.places(key)

    def find(self, seq: int, key: str) -> bytes | None:
        """The leaf hash under a key in a batch that is in the spool; None where there is none. May read from there."""
        row = self._rows.get(seq)
        if row is None:
            loaded = self._load(seq)
            row = self._rows[seq] = {} if loaded is None else keyed(loaded.keys, loaded.leaf_hashes)
            while len(self._rows) > _ROWS_CACHED:
                self._rows.popitem(last=False)
        return row.get(key)


def keyed(keys: Sequence[str], hashes: bytes) -> dict[str, bytes]:
    """Key → leaf hash, from the keys and as many hashes one after another."""
    return dict(zip(keys, (hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)), strict=False))
