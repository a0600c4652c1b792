"""What goes into a sink's judgement and what comes out of it, as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from meterfabric_protocol import notice as notices
from meterfabric_protocol.checkpoint import Checkpoint
from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.stored import LogUpdate


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message from a relay. ``ticket`` is the shell's: it says where the answer goes.

    ``header`` is the batch header, or the checkpoint's note where ``head``. ``payload`` is the third frame: a stub's is
    its permit; None for heads.
    """

    ticket: Any
    origin: str
    nonce: bytes
    epoch: int
    chain: bytes
    header: bytes
    payload: bytes | memoryview | None = None
    head: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Something only the store can tell before ``item`` is judged.

    Where ``again`` is false: which batch of the item's log ends at ``checkpoint.size`` (`SinkCore.resolve`). Where it
    is true the batch repeats one of a forked log: which one, the log's notices say (`original`), and whether that one
    is held (`SinkCore.repeat`).
    """

    item: Incoming
    checkpoint: Checkpoint
    note: bytes
    again: bool = False


@dataclass(frozen=True, slots=True)
class Original:
    """The batch [first, size) with this root in the forked log ``origin``, which a later log repeats."""

    origin: str
    first: int
    size: int
    root: bytes


def original(bodies: Iterable[bytes], first: int) -> Original | None:
    """Find in a log's notices which batch of a forked log its batch at ``first`` repeats, None where it is new."""
    for body in bodies:
        notice = notices.decode(body)
        if isinstance(notice, notices.Continues) and notice.again:
            for again in notice.again:
                if again.at == first:
                    return Original(notice.previous, again.first, again.size, again.root)
    return None


@dataclass
class Verdict:
    """What to do about a group of messages: commit ``updates`` at once, then release ``answers``."""

    updates: dict[str, LogUpdate] = field(default_factory=dict)
    answers: list[tuple[Incoming, Answer]] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    """Answer each with `SinkCore.resolve` once the store was asked."""
    reread: list[Incoming] = field(default_factory=list)
    """Judge again, with positions freshly read."""
    missing: set[str] = field(default_factory=set)
    """Logs whose position is needed too; those that wait for it are in ``reread``."""

    def merge(self, update: LogUpdate) -> None:
        """Put one more change of a log behind those that are here, so that a commit has one a log."""
        earlier = self.updates.get(update.origin)
        if earlier is not None:
            update = LogUpdate(
                update.origin,
                earlier.expected_size,
                update.held,
                earlier.batches + update.batches,
                earlier.notices + update.notices,
                update.certificate or earlier.certificate,
                update.equivocation or earlier.equivocation,
            )
        self.updates[update.origin] = update
