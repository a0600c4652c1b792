"""What a log that was ended early still holds past its end, for a new log to repeat.

Two sinks may know a log otherwise from some size on (its key went on from an older disk), and a damaged database may
have lost batches in its middle. Either way the log ends there, and what lies past it goes into a new log, batch by
batch, named in that log's first notice so that a sink which has a batch already passes over its repetition.
"""

from typing import Final

from meterfabric_protocol import notice
from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.notice import Again, Closed, Continues, Damaged, Opened

from .opening import first_leaves
from .spool import LogRow, Spool
from .spool.begun import naming
from .spool.reader import BatchRow

_CHUNK: Final = 256


async def plan(spool: Spool, log: LogRow, past: int, end: int, *, besides: int = 0) -> tuple[Again, ...]:
    """The batches of `log` from `past` to `end` that can be repeated in a new log, right behind its first notices.

    `besides` is how many notices stand there that name none of them. What is found damaged can't be repeated: the spool
    has it told of (`Spool.leaves`), since nobody will ever fetch it.
    """
    found: list[tuple[int, int, bytes]] = []
    first = past
    while rows := [row for row in await spool.batches(log.origin, first, _CHUNK) if row.first < end]:
        for row in rows:
            root = _root(row)
            if root is not None and await repeatable(spool, log, row) is not None:
                found.append((row.first, row.size, root))
            first = row.size
    at = first_leaves(len(found)) + besides
    again: list[Again] = []
    for first, size, root in found:
        again.append(Again(at=at, first=first, size=size, root=root))
        at += size - first
    return tuple(again)


async def named(spool: Spool, previous: LogRow) -> tuple[str, frozenset[int]] | None:
    """The newest log that says where `previous` ended, and the first leaves of the batches it names to stand again.

    None where there is none, or its first notices can't be read any more.
    """
    for log in reversed([log for log in await spool.logs() if log.id > previous.id]):
        leaves = await spool.leaves(log.origin, 0)
        if leaves is None:
            return None
        if said := naming(leaves, previous):
            return log.origin, frozenset(again.first for each in said for again in each.again)
    return None


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
