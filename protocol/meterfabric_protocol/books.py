"""The books: what became of every leaf of a pod's logs at one sink, from what that sink holds.

Up to the newest checkpoint heard, every leaf has exactly one fate. `delivered` is what the sink holds; every other fate
is a notice that the sink holds, or a visible gap behind its position. Nothing here verifies hashes or signatures, that
is for the reader of the store; here it is only counted, and counted so that nothing can fall between two fates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from meterfabric_protocol import notice as notices
from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.delivery.stored import UNNAMED, Held, StoredBatch, StoredNotice
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.intervals import Range, split

Fate: TypeAlias = Literal[
    "delivered",  # held
    "repeated",  # passed over here, because the same batch is held in the log that this one repeats
    "damaged",  # passed over, or not repeated: found damaged on the sidecar's disk, a notice says so
    "expired",  # passed over: given up for this sink, a notice says so
    "lost",  # passed over, or not held: the sink had received it and lost it, a notice says so
    "unowed",  # passed over or not sent: from before the sink joined or after it left, a notice says so
    "missing",  # lost with the sidecar's disk, as the next log says, or on a branch of a forked log that it gave up
    "pending",  # not held: behind the position, and the pod may yet send it
    "abandoned",  # not held: behind the position, and the pod vanished
    "unexplained",  # passed over and no notice says why, or a hole in what is stored
]
FATES: Final[tuple[Fate, ...]] = (
    "delivered",
    "repeated",
    "damaged",
    "expired",
    "lost",
    "unowed",
    "missing",
    "pending",
    "abandoned",
    "unexplained",
)
Content: TypeAlias = Literal["records", "notices", "unknown"]
"""What leaves are; unknown where only a checkpoint was heard of them."""


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """What a sink holds of one log: its position, its batches and notices in order."""

    held: Held
    batches: Sequence[StoredBatch]
    notices: Sequence[StoredNotice]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The leaves [first, size) have one fate; ``of`` says what they are."""

    first: int
    size: int
    of: Content
    fate: Fate

    @property
    def leaves(self) -> int:
        """How many."""
        return self.size - self.first


@dataclass(frozen=True, slots=True)
class LogBooks:
    """One log's stretches, ascending and without gaps from leaf 0 to `size`, the newest leaf heard of.

    ``parted``: where the log parted, the sink may hold the leaves of one branch, and have lost those of the pod's own
    that stood in their place, as a notice says. Both were accepted, so these stretches count beside the others.
    """

    origin: str
    stretches: tuple[Stretch, ...]
    parted: tuple[Stretch, ...] = ()

    @property
    def size(self) -> int:
        """Leaves heard of."""
        return self.stretches[-1].size if self.stretches else 0

    def count(self, fate: Fate, *of: Content) -> int:
        """Leaves of that fate, of these contents or of any."""
        every = (*self.stretches, *self.parted)
        return sum(each.leaves for each in every if each.fate == fate and (not of or each.of in of))

    @property
    def records(self) -> dict[Fate, int]:
        """Records by fate. What was only heard of counts as records: which of it are notices can't be known."""
        return {fate: self.count(fate, "records", "unknown") for fate in FATES}

    @property
    def whole(self) -> bool:
        """Whether every leaf's fate is known."""
        return not self.count("unexplained")

    def fate_of(self, index: int) -> Fate | None:
        """The fate of one leaf, None beyond what was heard of."""
        return next((each.fate for each in self.stretches if each.first <= index < each.size), None)


@dataclass(slots=True)
class _Said:
    """What notices say of one log, for one sink."""

    damaged: list[Range] = field(default_factory=list)
    expired: list[Range] = field(default_factory=list)
    lost: list[Range] = field(default_factory=list)
    joined: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    missing: list[Range] = field(default_factory=list)
    repeated: list[tuple[str, notices.Again]] = field(default_factory=list)
    """Batches of this log that stand for one of an earlier log, which is named."""
    again: list[Range] = field(default_factory=list)
    """Leaves of this log that a later one repeats."""
    joined_here: bool = False
    """Whether the sink joined while this log was the pod's present one."""
    later: list[str] = field(default_factory=list)
    """The logs that go this one on."""
    ends: list[int] = field(default_factory=list)
    """Where they say that it ends: past the first of these it may have parted."""


def account(logs: Iterable[LogEvidence], sink: str, vanished: Collection[str] = ()) -> list[LogBooks]:
    """The books of one pod's logs at the sink that holds this evidence, in the order given.

    ``vanished`` names the logs whose pod is gone for good: what they never delivered is abandoned instead of pending.
    """
    evidence = list(logs)
    said = _read(evidence, sink)
    held = {(log.held.origin, b.first, b.size): b for log in evidence for b in log.batches if b.kind == "records"}
    return [
        _books(
            log,
            said.get(log.held.origin, _Said()),
            held,
            vanished=log.held.origin in vanished,
            over=not log.held.size and _was_over(log.held.origin, said),
        )
        for log in evidence
    ]


def _was_over(origin: str, said: dict[str, _Said]) -> bool:
    """Whether the log was over, and forgotten by its pod, when the sink joined.

    A pod says of each log that it still keeps from where on a joining sink is owed it. It keeps a log until every sink
    of that time has all of it, so one that it says nothing of was never owed to the one that joined later.
    """
    seen = {origin}
    queue = [origin]
    while queue:
        about = said.get(queue.pop(), _Said())
        if about.joined or about.left:
            return about.joined_here
        queue += [later for later in about.later if later not in seen]
        seen.update(about.later)
    return False


def _read(logs: Iterable[LogEvidence], sink: str) -> dict[str, _Said]:
    said: dict[str, _Said] = {}
    for log in logs:
        for stored in log.notices:
            try:
                notice = notices.decode(stored.body)
            except Malformed:
                continue  # a later release's: it explains nothing to this one
            about = said.setdefault(notice.log, _Said())
            match notice:
                case notices.Damaged():
                    about.damaged += notice.ranges
                case notices.Expired() if notice.sink == sink:
                    about.expired += notice.ranges
                case notices.LostBySink() if notice.sink == sink:
                    about.lost += notice.ranges
                case notices.SinkJoined() if notice.sink == sink:
                    about.joined.append(notice.size)
                    about.joined_here |= notice.log == log.held.origin
                case notices.SinkLeft() if notice.sink == sink:
                    about.left.append(notice.size)
                case notices.Continues():
                    before = said.setdefault(notice.previous, _Said())
                    before.later.append(log.held.origin)
                    before.ends.append(notice.size)
                    before.again += [(again.first, again.size) for again in notice.again]
                    about.repeated += [(notice.previous, again) for again in notice.again]
                    if isinstance(notice.heard, int):
                        before.missing.append((notice.size, notice.heard))
    return said


def _books(
    log: LogEvidence, said: _Said, held: dict[tuple[str, int, int], StoredBatch], *, vanished: bool, over: bool
) -> LogBooks:
    stretches: list[Stretch] = []
    at = 0
    for batch in log.batches:
        if at < batch.first:
            stretches.append(Stretch(at, batch.first, "unknown", "unexplained"))
        if batch.kind == "stub":
            stretches += _passed(batch, said, held, log.held.final_size)
        else:
            stretches.append(Stretch(batch.first, batch.size, batch.of, "delivered"))
        at = max(at, batch.size)
    if at < log.held.size:
        stretches.append(Stretch(at, log.held.size, "unknown", "unexplained"))
        at = log.held.size
    stretches += _behind(log.held, at, said, "unowed" if over else "abandoned" if vanished else "pending")
    return LogBooks(log.held.origin, tuple(stretches), _parted(stretches, said))


def _parted(stretches: Iterable[Stretch], said: _Said) -> tuple[Stretch, ...]:
    """What of the pod's own branch is lost where another's leaves are held."""
    end = min(said.ends, default=None)
    lost = [] if end is None else [(max(end, first), size) for first, size in said.lost]
    held = [(each.first, each.size) for each in stretches if each.fate == "delivered"]
    parts = [part for each in held for part in split(each, lost)[0]]
    return tuple(Stretch(*each, "unknown", "lost") for part in parts for each in split(part, said.again)[1])


def _passed(
    batch: StoredBatch, said: _Said, held: dict[tuple[str, int, int], StoredBatch], final_size: int
) -> list[Stretch]:
    """The fates of a stub's leaves: the first notice that covers them, in the order of how much it tells."""
    repeated = [
        (again.at, again.at + again.size - again.first) for of, again in said.repeated if _stands(held, of, again)
    ]
    unowed = [(0, size) for size in said.joined]
    # Past where a later log lets this one end, what would have explained the stub may be lost as well.
    missing = said.missing if final_size == UNNAMED else [*said.missing, (final_size, batch.size)]
    left: list[Range] = [(batch.first, batch.size)]
    stretches: list[Stretch] = []
    explanations: tuple[tuple[Fate, list[Range]], ...] = (
        ("repeated", repeated),
        ("damaged", said.damaged),
        ("expired", said.expired),
        ("lost", said.lost),
        ("unowed", unowed),
        ("missing", missing),
    )
    for fate, ranges in explanations:
        rest: list[Range] = []
        for part in left:
            inside, outside = split(part, ranges)
            stretches += [Stretch(*each, batch.of, fate) for each in inside]
            rest += outside
        left = rest
    stretches += [Stretch(*each, batch.of, "unexplained") for each in left]
    return sorted(stretches, key=lambda each: each.first)


def _stands(held: dict[tuple[str, int, int], StoredBatch], of: str, again: notices.Again) -> bool:
    """Whether the sink holds the records of the very batch that was repeated."""
    batch = held.get((of, again.first, again.size))
    return batch is not None and parse(batch.note).checkpoint.root == again.root


def _behind(held: Held, at: int, said: _Said, waiting: Fate) -> list[Stretch]:
    """The fates of what was heard of and is not held."""
    end = max(held.head_size, held.final_size, *(size for _, size in said.missing), 0)
    if end <= at:
        return []
    cut = end if held.final_size == UNNAMED else max(at, held.final_size)
    # Whether a sink that left joined again can't be told from its own evidence; a position that moved on tells.
    unowed = [(size, end) for size in said.left if size >= at and len(said.left) > len(said.joined)]
    # What the pod had dropped before the sink joined comes as stubs, if it still comes at all.
    unowed += [(0, size) for size in said.joined]
    inside, outside = split((at, cut), unowed)
    stretches = [Stretch(*each, "unknown", "unowed") for each in inside]
    stretches += [Stretch(*each, "unknown", waiting) for each in outside]
    left = [(cut, end)]
    past: tuple[tuple[Fate, list[Range]], ...] = (
        ("repeated", said.again),
        ("damaged", said.damaged),
        ("lost", said.lost),
        ("missing", [(cut, end)]),
    )
    for fate, ranges in past:
        parts = [split(part, ranges) for part in left]
        stretches += [Stretch(*each, "unknown", fate) for inside, _ in parts for each in inside]
        left = [each for _, outside in parts for each in outside]
    return sorted(stretches, key=lambda each: each.first)
