"""The window in which a repeated record is known again.

A key is a record's source and id. Two generations of hash → place map the newest records, in memory, at about 60 bytes
each; a whole batch is looked up by a few calls into C. A hit is only a hint: what decides are the keys and leaf hashes
in the spool's table `recent`, so nothing is ever refused for a hash's sake. The window outlives the payloads, and is
rebuilt from that table at start.

It covers at least the newest `records` / 2 records that are younger than `seconds`, at most `records` of twice that
age: when the younger generation is half full, or `seconds` old, it becomes the older one and the older is forgotten.
Where keys are long, `stored` bytes of them in the spool bound it instead.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meterfabric_protocol.merkle import HASH_BYTES

from .spool.rows import RecentRow

_ROWS_CACHED: Final = 4


@dataclass(slots=True)
class _Generation:
    places: dict[int, int]
    """hash(key) → seq of the row in `recent`."""
    first_seq: int
    started: float
    """The spool clock's reading at its first batch."""
    stored: int = 0


class Window:
    """Which records were accepted lately.

    `records`, `seconds` and `stored` as in the module; `load(seq)` reads a row of `recent` (None where it is gone).
    Batches are numbered by `seq`, rising.
    """

    def __init__(self, records: int, seconds: float, stored: int, load: Callable[[int], RecentRow | None]) -> None:
        self._half = max(1, records // 2)
        self._seconds = seconds
        self._stored = stored // 2
        self._load = load
        self._young = _Generation({}, 0, 0.0)
        self._old = _Generation({}, 0, 0.0)
        self._rows: OrderedDict[int, dict[str, bytes]] = OrderedDict()
        self.last_seq = 0
        """The newest batch taken in."""

    def __len__(self) -> int:
        return len(self._young.places) + len(self._old.places)

    def add(self, seq: int, sealed_at: float, stored: int, places: Mapping[int, int]) -> None:
        """Take in a batch's keys, hash(key) → seq; in the spool they take `stored` bytes."""
        self.last_seq = seq
        young = self._young
        full = len(young.places) >= self._half or young.stored >= self._stored
        if young.places and (full or sealed_at - young.started > self._seconds):
            self._old, young = young, _Generation({}, seq, sealed_at)
            self._young = young
        elif not young.places:
            young.first_seq, young.started = seq, sealed_at
        young.places.update(places)
        young.stored += stored

    def age(self, now: float) -> None:
        """Forget what is past its time though nothing new came."""
        if now - self._young.started > self._seconds and len(self):
            self._old, self._young = self._young, _Generation({}, self.last_seq + 1, now)

    @property
    def first_seq(self) -> int:
        """Rows of `recent` below this are past the window."""
        return self._old.first_seq if self._old.places else self._young.first_seq

    def knows_none(self, hashes: Iterable[int]) -> bool:
        """Whether surely none of these was seen: the way almost every batch goes."""
        return self._young.places.keys().isdisjoint(hashes) and self._old.places.keys().isdisjoint(hashes)

    def find(self, key: str) -> bytes | None:
        """The leaf hash of the record accepted under this key; None where there is none. May read from the spool."""
        place = hash(key)
        for generation in (self._young, self._old):
            seq = generation.places.get(place)
            if seq is not None and (found := self._row(seq).get(key)) is not None:
                return found
        return None

    def _row(self, seq: int) -> dict[str, bytes]:
        row = self._rows.get(seq)
        if row is None:
            loaded = self._load(seq)
            row = self._rows[seq] = {} if loaded is None else keyed(loaded.keys, loaded.leaf_hashes)
            while len(self._rows) > _ROWS_CACHED:
                self._rows.popitem(last=False)
        return row


def keyed(keys: Sequence[str], hashes: bytes) -> dict[str, bytes]:
    """Key → leaf hash, from the keys and as many hashes one after another."""
    return dict(zip(keys, (hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)), strict=False))
