"""Which log a sidecar goes on with when it starts, and how a new one begins.

A clean end means a new log that continues; a crash with the key alive means the same log goes on, unless the spool is
behind the head kept beside the key. What there may be of head, key and spool, the first row that fits counting:

| head | spool | what happens |
|---|---|---|
| of a log not in the spool | empty | begin, continuing the head's log from 0, heard to the head ("spool-lost") |
| of a log not in the spool | older logs | the same ("rollback"), continuing the last of them as well |
| none | empty | begin, continuing nothing |
| any | last log is closed | begin, continuing it ("restart") |
| any | last log is dead, or not of the key held | begin, continuing it ("key-lost") |
| none, or another log's | last log is of the key held | begin, continuing it ("head-lost") |
| past its end, or another root | last log is of the key held | begin, continuing it, heard to the head ("rollback") |
| within it | last log is of the key held | it goes on |

A head of size 0 counts as none where its log is not in the spool: its key never signed.

Whatever log begins continues the spool's last one: those before it are named by its own first notices, but one that no
log names is stuck where it was never enrolled or its certificate lapsed, since its key is thrown away. The exception is
a last log that is broken: `ProducerLog.repeat` ends it where it broke, in yet another log.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from msgspec import UNSET

from meterfabric_protocol.limits import NOTICE_AGAIN
from meterfabric_protocol.merkle import EMPTY_ROOT
from meterfabric_protocol.notice import Again, Continues, Opened

from .keys import Head, Held
from .spool.rows import LogRow


@dataclass(frozen=True, slots=True)
class GoOn:
    """The log goes on under the key that is held."""

    log: LogRow
    held: Held


class Ended(NamedTuple):
    """A log's end, with its root there, and why it ended: the word of a `continues` notice."""

    origin: str
    size: int
    root: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Begin:
    """A new key and a new log. With `previous` it continues that one from its leaf `size` on, repeating `again`.

    `root` is the previous log's at `size`, `heard` the size that a peer may have heard of. `ended` is another log that
    grew until now, or was the newest of an older spool, and that this one stands for as well.
    """

    previous: str | None
    size: int
    root: bytes
    heard: int | None
    reason: str
    again: tuple[Again, ...] = ()
    ended: Ended | None = None

    def notices(self, origin: str) -> list[Opened | Continues]:
        """The new log's first batch: as many leaves as it takes to name all that is repeated."""
        if self.previous is None:
            return [Opened(log=origin)]
        heard = UNSET if self.heard is None or self.heard <= self.size else self.heard
        begun: list[Opened | Continues] = [
            Continues(
                log=origin,
                previous=self.previous,
                size=self.size,
                root=self.root,
                heard=heard,
                reason=self.reason,
                again=self.again[start : start + NOTICE_AGAIN],
            )
            for start in range(0, max(1, len(self.again)), NOTICE_AGAIN)
        ]
        if self.ended is not None:
            other, size, root, reason = self.ended
            begun.append(Continues(log=origin, previous=other, size=size, root=root, reason=reason))
        return begun


def first_leaves(again: int) -> int:
    """How many notices name `again` repeated batches."""
    return max(1, -(-again // NOTICE_AGAIN))


def decide(held: Held | None, head: Head | None, logs: Sequence[LogRow], root_at_head: bytes | None) -> GoOn | Begin:
    """What to do at start.

    `logs` are the spool's, oldest first; `head` may be there without a key; `root_at_head` is the root that the spool
    has for the head's log at the head's size, None where it has none there.
    """
    last = logs[-1] if logs else None
    if head is not None and head.size and head.origin not in {log.origin for log in logs}:
        # The key lived on while the spool was lost, or is a copy from before the key's log began. Nothing of that log
        # is left to send; what may have been heard of it must be told.
        lost = Begin(head.origin, 0, EMPTY_ROOT, head.size, "spool-lost")
        if last is None:
            return lost
        ended = Ended(*_end(last), "rollback") if last.broken_at is None else None
        return replace(lost, reason="rollback", ended=ended)
    if last is None:
        return Begin(None, 0, EMPTY_ROOT, None, "")
    end = _end(last)
    ours = head if head is not None and head.origin == last.origin else None
    if last.state == "closed":
        return Begin(*end, None, "restart")
    if held is None or held.public_key != last.public_key or last.state == "dead":
        return Begin(*end, ours.size if ours else None, "key-lost")
    if ours is None:
        return Begin(*end, None, "head-lost")
    if ours.size > last.size or (ours.size and root_at_head != ours.root):
        return Begin(*end, ours.size, "rollback")
    return GoOn(last, held)


def _end(log: LogRow) -> tuple[str, int, bytes]:
    return log.origin, log.size, log.frontier.root() if log.size else EMPTY_ROOT
