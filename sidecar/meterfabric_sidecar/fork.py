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
from .spool.reader import BatchRow

_CHUNK: Final = 256


async def plan(spool: Spool, log: LogRow, common: int, *, besides: int = 0) -> tuple[Again, ...]:
    """The batches of `log` past `common` that can be repeated in a new log, right behind its first notices.

    `besides` is how many notices stand there that name none of them. What an earlier fork repeated is not repeated
    again. What is found damaged can't be: the spool has it told of (`Spool.leaves`), since nobody will ever fetch it.
    """
    found: list[tuple[int, int, bytes]] = []
    first = common
    end = log.size if log.superseded_at is None else log.superseded_at
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


async def named(spool: Spool, previous: str) -> tuple[str, frozenset[int]]:
    """The newest log whose first notices name batches of `previous`, and the first leaves of those; "" where none."""
    for log in reversed(await spool.logs()):
        begun = [notice.decode(leaf) for leaf in await spool.leaves(log.origin, 0) or ()]
        those = frozenset(
            again.first
            for each in begun
            if isinstance(each, Continues) and each.previous == previous
            for again in each.again
        )
        if those:
            return log.origin, those
    return "", frozenset()


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
