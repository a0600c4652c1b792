"""Which log a sidecar goes on with when it starts, and how a new one begins.

The rules are design.md's: a clean end means a new log that continues; a crash with the key alive means the same log
goes on, unless the spool is behind the head kept beside the key.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Begin:
    """A new key and a new log. With `previous` it continues that one from its leaf `size` on, repeating `again`.

    `root` is the previous log's at `size`, `heard` the size that a peer may have heard of. `ended` is another log
    (origin, size, root) that grew until now and that this one stands for as well.
    """

    previous: str | None
    size: int
    root: bytes
    heard: int | None
    reason: str
    again: tuple[Again, ...] = ()
    ended: tuple[str, int, bytes] | None = None

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
            other, size, root = self.ended
            begun.append(Continues(log=origin, previous=other, size=size, root=root, reason="restart"))
        return begun


def first_leaves(again: int) -> int:
    """How many notices name `again` repeated batches."""
    return max(1, -(-again // NOTICE_AGAIN))


def decide(held: Held | None, head: Head | None, logs: Sequence[LogRow], root_at_head: bytes | None) -> GoOn | Begin:
    """What to do at start.

    `logs` are the spool's, oldest first; `head` may be there without a key; `root_at_head` is the root that the spool
    has for the head's log at the head's size, None where it has none there.
    """
    if head is not None and head.size and head.origin not in {log.origin for log in logs}:
        # The key lived on while the spool was lost, or is a copy from before the key's log began. Nothing of that log
        # is left to send; what may have been heard of it must be told.
        return Begin(head.origin, 0, EMPTY_ROOT, head.size, "rollback" if logs else "spool-lost")
    if not logs:
        return Begin(None, 0, EMPTY_ROOT, None, "")
    last = logs[-1]
    end = last.origin, last.size, last.frontier.root() if last.size else EMPTY_ROOT
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
