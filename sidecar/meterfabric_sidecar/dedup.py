"""Which records of a group are new: against the window, the batches on their way to the disk, and each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from .spool import Spool
from .window import Window

_CHUNK: Final = 64


class Submitted(Protocol):
    """Records that stand or fall together, each with its key and its leaf hash."""

    @property
    def records(self) -> Sequence[bytes]: ...
    @property
    def keys(self) -> Sequence[str]: ...
    @property
    def hashes(self) -> Sequence[bytes]: ...


S = TypeVar("S", bound=Submitted)


@dataclass(slots=True)
class Group:
    """The new records of some submissions. `seq` is where the spool keeps their keys."""

    seq: int
    sealed_at: float
    records: Sequence[bytes]
    keys: Sequence[str]
    hashes: Sequence[bytes]
    key_hashes: Sequence[int]
    places: dict[int, None]
    _by_key: dict[str, bytes] = field(default_factory=dict)

    def find(self, key: str) -> bytes | None:
        """The leaf hash under a key."""
        if not self._by_key:
            self._by_key = dict(zip(self.keys, self.hashes, strict=True))
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
                self._window.add(row.seq, row.sealed_at, row.stored, map(hash, row.keys))
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
        if len(submissions) == 1:
            only = submissions[0]
            records, keys, hashes = only.records, only.keys, only.hashes
        else:
            records = [record for s in submissions for record in s.records]
            keys = [key for s in submissions for key in s.keys]
            hashes = [value for s in submissions for value in s.hashes]
        key_hashes = list(map(hash, keys))
        places = dict.fromkeys(key_hashes)
        if (
            len(places) == len(key_hashes)
            and self._window.knows_none(key_hashes)
            and all(group.places.keys().isdisjoint(key_hashes) for group in self._flying)
        ):
            return Admitted(self._group(now, records, keys, hashes, key_hashes, places), list(submissions), [])
        return self._sort_out(submissions, now)

    def landed(self, group: Group, stored: int) -> None:
        """The group is durable; its keys took `stored` bytes."""
        self._flying.remove(group)
        self._window.add(group.seq, group.sealed_at, stored, group.key_hashes)

    def _sort_out(self, submissions: Sequence[S], now: float) -> Admitted[S]:
        new: dict[str, bytes] = {}
        records: list[bytes] = []
        taken: list[S] = []
        clashes: list[tuple[S, int]] = []
        for submission in submissions:
            own: dict[str, bytes] = {}
            own_records: list[bytes] = []
            for index, (key, leaf) in enumerate(zip(submission.keys, submission.hashes, strict=True)):
                known = own.get(key) or new.get(key) or self._find(key)
                if known is None:
                    own[key] = leaf
                    own_records.append(submission.records[index])
                elif known != leaf:
                    clashes.append((submission, index))
                    break
            else:
                new.update(own)
                records += own_records
                taken.append(submission)
        if not new:
            return Admitted(None, taken, clashes)
        key_hashes = list(map(hash, new))
        group = self._group(now, records, list(new), list(new.values()), key_hashes, dict.fromkeys(key_hashes))
        return Admitted(group, taken, clashes)

    def _find(self, key: str) -> bytes | None:
        for group in self._flying:
            if hash(key) in group.places and (found := group.find(key)) is not None:
                return found
        return self._window.find(key)

    def _group(
        self,
        now: float,
        records: Sequence[bytes],
        keys: Sequence[str],
        hashes: Sequence[bytes],
        key_hashes: Sequence[int],
        places: dict[int, None],
    ) -> Group:
        group = Group(self._next_seq, now, records, keys, hashes, key_hashes, places)
        self._next_seq += 1
        self._flying.append(group)
        return group
