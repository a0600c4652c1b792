"""Which records of a group are new: against the window, the batches on their way to the disk, and each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar

from meterfabric_protocol import batch as batches
from meterfabric_protocol.merkle import hash_at
from meterfabric_protocol.record import Split

from .spool import Spool
from .window import Window, keyed

_CHUNK: Final = 64


class Submitted(Protocol):
    """Records that stand or fall together."""

    @property
    def split(self) -> Split: ...


S = TypeVar("S", bound=Submitted)


@dataclass(slots=True)
class Group:
    """The new records of some submissions. `seq` is where the spool keeps their keys."""

    seq: int
    sealed_at: float
    payload: bytes
    keys: Sequence[str]
    hashes: bytes
    places: dict[int, int]
    """hash(key) → seq."""
    _by_key: dict[str, bytes] = field(default_factory=dict)

    def find(self, key: str) -> bytes | None:
        """The leaf hash under a key."""
        if not self._by_key:
            self._by_key = keyed(self.keys, self.hashes)
        return self._by_key.get(key)


@dataclass(slots=True)
class Admitted(Generic[S]):
    """What became of some submissions: `taken` go with `group` (None where all they hold is known), `clashes` name the
    submission and its first record whose key stands for other bytes."""

    group: Group | None
    taken: list[S]
    clashes: list[tuple[S, int]]


class Dedup:
    """Compares what comes in with what came in before, in the window of `records` and `seconds` (see Window).

    The keys take at most an eighth of the spool's quota.
    """

    def __init__(self, spool: Spool, records: int, seconds: float) -> None:
        self._spool = spool
        self._window = Window(records, seconds, spool.pressure().quota // 8, spool.recent)
        self._next_seq = 1
        self._flying: list[Group] = []

    async def load(self) -> None:
        """Take over what the spool holds beyond what is known: all at start, what a failed commit left later on."""
        self._flying.clear()
        known = self._window.last_seq
        while rows := await self._spool.recent_after(known, _CHUNK):
            for row in rows:
                self._window.add(row.seq, row.sealed_at, row.stored, dict.fromkeys(map(hash, row.keys), row.seq))
            known = rows[-1].seq
        self._next_seq = known + 1

    @property
    def first_seq(self) -> int:
        """Below it the spool's rows are past the window."""
        return self._window.first_seq

    def __len__(self) -> int:
        return len(self._window)

    def admit(self, submissions: Sequence[S], now: float) -> Admitted[S]:
        """Sort out the new records; they count as known from here on, until `landed` or `load`."""
        self._window.age(now)
        keys = list(chain.from_iterable(s.split.keys for s in submissions))
        places = dict.fromkeys(map(hash, keys), self._next_seq)
        if (
            len(places) == len(keys)
            and self._window.knows_none(places)
            and all(group.places.keys().isdisjoint(places) for group in self._flying)
        ):
            payload = b"".join([s.split.payload for s in submissions])
            hashes = b"".join([s.split.hashes for s in submissions])
            return Admitted(self._group(now, payload, keys, hashes, places), list(submissions), [])
        return self._sort_out(submissions, now)

    def landed(self, group: Group, stored: int) -> None:
        """The group is durable; its keys took `stored` bytes."""
        self._flying.remove(group)
        self._window.add(group.seq, group.sealed_at, stored, group.places)

    def _sort_out(self, submissions: Sequence[S], now: float) -> Admitted[S]:
        new: dict[str, bytes] = {}
        records: list[bytes] = []
        taken: list[S] = []
        clashes: list[tuple[S, int]] = []
        for submission in submissions:
            own: dict[str, bytes] = {}
            own_records: list[bytes] = []
            split = submission.split
            for index, (key, record) in enumerate(zip(split.keys, split.records, strict=True)):
                leaf = hash_at(split.hashes, index)
                known = own.get(key) or new.get(key) or self._find(key)
                if known is None:
                    own[key] = leaf
                    own_records.append(record)
                elif known != leaf:
                    clashes.append((submission, index))
                    break
            else:
                new.update(own)
                records += own_records
                taken.append(submission)
        if not new:
            return Admitted(None, taken, clashes)
        places = dict.fromkeys(map(hash, new), self._next_seq)
        group = self._group(now, batches.join(records), list(new), b"".join(new.values()), places)
        return Admitted(group, taken, clashes)

    def _find(self, key: str) -> bytes | None:
        for group in self._flying:
            if hash(key) in group.places and (found := group.find(key)) is not None:
                return found
        return self._window.find(key)

    def _group(
        self,
        now: float,
        payload: bytes,
        keys: Sequence[str],
        hashes: bytes,
        places: dict[int, int],
    ) -> Group:
        group = Group(self._next_seq, now, payload, keys, hashes, places)
        self._next_seq += 1
        self._flying.append(group)
        return group
