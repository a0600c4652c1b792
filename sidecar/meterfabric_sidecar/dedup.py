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
    payload: bytes
    keys: list[str]
    hashes: bytes
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
        self._landed = 0
        self._flying: dict[int, Group] = {}

    async def load(self) -> None:
        """Take over what the spool holds beyond what is known: all at start, what a failed commit left later on."""
        self._flying.clear()
        while rows := await self._spool.recent_after(self._landed, _CHUNK):
            for row in rows:
                self._window.add(row.seq, row.sealed_at, row.keys)
                self._window.stored(row.stored)
            self._landed = rows[-1].seq
        # None is used twice: the window may know those of batches that came to nothing.
        self._next_seq = max(self._next_seq, self._landed + 1)

    @property
    def first_seq(self) -> int:
        """Below it the spool's rows are past the window."""
        return self._window.first_seq

    def __len__(self) -> int:
        return len(self._window)

    def admit(self, submissions: Sequence[S], now: float) -> Admitted[S]:
        """Sort out the new records; they count as known from here on."""
        self._window.age(now)
        keys = list(chain.from_iterable(s.split.keys for s in submissions))
        unseen = self._window.knows_none(keys)
        if unseen and self._window.add(self._next_seq, now, keys):
            payload = b"".join([s.split.payload for s in submissions])
            hashes = b"".join([s.split.hashes for s in submissions])
            return Admitted(self._group(payload, keys, hashes), list(submissions), [])
        return self._sort_out(submissions, now, added=unseen)

    def landed(self, group: Group, stored: int) -> None:
        """The group is durable; its keys took `stored` bytes."""
        del self._flying[group.seq]
        self._landed = group.seq
        self._window.stored(stored)

    def _sort_out(self, submissions: Sequence[S], now: float, *, added: bool) -> Admitted[S]:
        """One record at a time. `added`: the window has all keys already, as the next group's."""
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
        keys = list(new)
        if not added:
            self._window.add(self._next_seq, now, keys)
        return Admitted(self._group(batches.join(records), keys, b"".join(new.values())), taken, clashes)

    def _find(self, key: str) -> bytes | None:
        for seq in self._window.places(key):
            group = self._flying.get(seq)
            # The next one is this group, put in before two of its keys were seen to be one.
            if group is not None:
                found = group.find(key)
            else:
                found = self._window.find(seq, key) if seq < self._next_seq else None
            if found is not None:
                return found
        return None

    def _group(self, payload: bytes, keys: list[str], hashes: bytes) -> Group:
        group = self._flying[self._next_seq] = Group(self._next_seq, payload, keys, hashes)
        self._next_seq += 1
        return group
