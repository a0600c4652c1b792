"""What a log that was ended early still holds past its end, for a new log to repeat.

Two sinks may know a log otherwise from some size on (its key went on from an older disk), and a damaged database may
have lost batches in its middle. Either way the log ends there, and what lies past it goes into a new log, batch by
batch, named in that log's first notice so that a sink which has a batch already passes over its repetition.
"""

from typing import Final

from meterfabric_protocol import notice
from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.limits import NOTICE_AGAIN
from meterfabric_protocol.notice import Again, Closed, Continues, Damaged, Opened

from .spool import LogRow, Spool
from .spool.reader import BatchRow

_CHUNK: Final = 256


async def plan(spool: Spool, log: LogRow, common: int) -> tuple[Again, ...]:
    """The batches of `log` past `common` that can be repeated from leaf 1 of a new log on.

    At most as many as one notice can name; what follows is repeated unnamed, for a sink that is so far past `common` on
    its own is next to impossible.
    """
    again: list[Again] = []
    at, first = 1, common
    while rows := await spool.batches(log.origin, first, _CHUNK):
        for row in rows:
            root = _root(row)
            if root is not None and await repeatable(spool, log, row) is not None:
                again.append(Again(at, row.first, row.size, root))
                at += row.size - row.first
                if len(again) == NOTICE_AGAIN:
                    return tuple(again)
            first = row.size
    return tuple(again)


async def named(spool: Spool, origin: str, previous: str) -> frozenset[int]:
    """The first leaves of the batches of `previous` that the first notice of the log `origin` names."""
    leaves = await spool.leaves(origin, 0)
    begun = notice.decode(leaves[0]) if leaves else None
    if not isinstance(begun, Continues) or begun.previous != previous:
        return frozenset()
    return frozenset(again.first for again in begun.again)


async def repeatable(spool: Spool, log: LogRow, row: BatchRow) -> list[bytes] | None:
    """The leaves of a batch, where they are there and mean something in another log."""
    if row.damaged is not None or (row.kind == "records" and row.first < log.dropped_to):
        return None
    leaves = await spool.leaves(log.origin, row.first)
    # How a log began and ended is said of that log alone.
    if leaves and any(
        notice.is_notice(leaf) and isinstance(notice.decode(leaf), Opened | Continues | Closed) for leaf in leaves
    ):
        return None
    return leaves


def fillers(origin: str, row: BatchRow) -> list[bytes]:
    """What stands for a batch that was named and then found damaged: a notice of it, as many times as it had leaves.

    So all that is named after it still stands where the first notice said it would.
    """
    leaf = notice.encode(Damaged(log=origin, ranges=((row.first, row.size),), cause="hash"))
    return [leaf] * (row.size - row.first)


def _root(row: BatchRow) -> bytes | None:
    try:
        return parse(row.note).checkpoint.root
    except Malformed:
        return None
