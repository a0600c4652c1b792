"""What became of everything that a sink heard of, counted once a minute for whoever sums the books of a fabric.

An audit reads every leaf; this reads a row a log, and more only of pods with something to tell: several logs, leaves
passed over, leaves not here yet. It believes what is stored, and counts it by the same rules as an audit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from meterfabric_protocol import notice as notices
from meterfabric_protocol.books import LogEvidence, account
from meterfabric_protocol.certificate import CHAIN_LENGTH, check_leaf, read_pem
from meterfabric_protocol.delivery.stored import Held, LeafKind, StoredBatch, StoredNotice
from meterfabric_protocol.errors import Malformed, ProtocolError
from meterfabric_protocol.limits import DEFAULT
from meterfabric_protocol.names import Producer, parse_spiffe

from .evidence import Evidence

OPEN: Final = 20_000
"""So many open logs are named, the longest silent first."""

_POD = f"substr(origin, 1, length(origin) - {len('/') + 26})"
"""An origin without its key's hash: all logs of one pod have it in common."""
_TELLING = f"""
SELECT {_POD} FROM logs GROUP BY 1 HAVING count(*) > 1
  OR max(CASE WHEN stubbed > 0 OR head_size > size OR final_size > size THEN 1 ELSE 0 END) = 1
"""  # noqa: S608 - constants
_TOTAL = "SELECT count(*), coalesce(sum(records), 0) FROM logs"
_LOGS = f"""
SELECT origin, size, records, notices, stubbed, head_size, final_size, vouched_by, again_to
FROM logs WHERE {_POD} IN ({_TELLING}) ORDER BY origin
"""  # noqa: S608
_NOTICES = f"""
SELECT origin, idx, body FROM notices WHERE origin IN (SELECT origin FROM logs WHERE {_POD} IN ({_TELLING}))
ORDER BY origin, idx
"""  # noqa: S608
_OPEN = """
SELECT origin, updated, size FROM logs
WHERE (NOT closed AND final_size < 0) OR head_size > size OR final_size > size ORDER BY updated, origin LIMIT ?
"""
_CHAIN = "SELECT chain FROM logs WHERE origin = ?"
_STUBS = """SELECT first, size, "of" FROM batches WHERE origin = ? AND first >= ? AND kind = 'stub' ORDER BY first"""


class Open(msgspec.Struct, frozen=True):
    """A log that isn't over: nobody closed it or went it on, or not all of it is here.

    `pending` counts records that were heard of and aren't here. Of what its pod took since, nothing is known yet. `uid`
    is the pod's, empty where the log has no certificate; `since`: when the log was last written, Unix seconds.
    """

    namespace: str
    pod: str
    uid: str
    pending: int
    since: int


class SinkBooks(msgspec.Struct, frozen=True):
    """All logs of a sink: records by fate, of which `pending` ones may be abandoned: a sink can't know who lives.

    `open` names at most OPEN logs.
    """

    logs: int
    records: dict[str, int]
    open: tuple[Open, ...]


class Counting:
    """Counts what a sink holds; remembers what was passed over, which never changes, from one time to the next."""

    def __init__(self, sink: str) -> None:
        """``sink``: its name in the fabric."""
        self._sink = sink
        self._stubs: dict[str, tuple[int, tuple[StoredBatch, ...]]] = {}
        self._pods: dict[str, tuple[str, str]] = {}
        """Name and UID of the pods of open logs, as their certificates say."""

    def count(self, evidence: Evidence) -> SinkBooks:
        """The books. Raises DestinationDown, DestinationRefused."""
        ((logs, delivered),) = evidence.query(_TOTAL)
        fates: Counter[str] = Counter(delivered=int(delivered))
        said: dict[str, list[StoredNotice]] = {}
        for origin, index, body in evidence.query(_NOTICES):
            said.setdefault(origin, []).append(StoredNotice(index, bytes(body)))
        pending: dict[str, int] = {}
        for _, rows in groupby(evidence.query(_LOGS), lambda row: str(row[0]).rpartition("/")[0]):
            pending |= self._pod(evidence, list(rows), said, fates)
        return SinkBooks(int(logs), dict(fates), self._open(evidence, pending))

    def _open(self, evidence: Evidence, pending: dict[str, int]) -> tuple[Open, ...]:
        found = [
            (origin, since)
            for origin, since, size in evidence.query(_OPEN, (OPEN,))
            if size or origin in pending  # else it was over before the sink joined
        ]
        before = self._pods
        self._pods = {
            origin: before[origin] if before.get(origin, ("", ""))[1] else _pod_of(evidence, origin)
            for origin, _ in found
        }
        made = []
        for origin, since in found:
            _, namespace, short, _ = origin.split("/")
            name, uid = self._pods[origin]
            made.append(Open(namespace, name or short, uid, pending.get(origin, 0), since))
        return tuple(made)

    def _pod(
        self, evidence: Evidence, rows: Sequence[Sequence[Any]], said: dict[str, list[StoredNotice]], to: Counter[str]
    ) -> dict[str, int]:
        """Add the fates of one pod's logs to `to`; what is pending of each."""
        again = _again(each for row in rows for each in said.get(row[0], ()))
        logs = []
        for origin, size, records, told, stubbed, head, final, voucher, again_to in rows:
            held = Held(
                origin,
                size,
                b"",
                b"",
                records,
                told,
                stubbed,
                head,
                b"",
                False,
                b"",
                b"",
                final,
                b"",
                voucher,
                again_to,
            )
            named = [
                each for first, end in sorted(again.get(origin, ())) for each in _batch(evidence, origin, first, end)
            ]
            batches = _joined(origin, size, [*self._passed(evidence, held), *named])
            logs.append(LogEvidence(held, batches, said.get(origin, ())))
        pending = {}
        for books in account(logs, self._sink):
            counted = {fate: count for fate, count in books.records.items() if fate != "delivered" and count}
            to.update(counted)
            if "pending" in counted:
                pending[books.origin] = counted["pending"]
        return pending

    def _passed(self, evidence: Evidence, held: Held) -> tuple[StoredBatch, ...]:
        """The stubs of a log, neighbours of one kind joined."""
        if not held.stubbed:
            return ()
        size, found = self._stubs.get(held.origin, (0, ()))
        # From the start again where a sink that was set back has grown anew.
        for begin, before in ((size, found), (0, ())):
            if _leaves(found) != held.stubbed:
                found = _extended(before, evidence.query(_STUBS, (held.origin, begin)), held.origin)
        self._stubs[held.origin] = (held.size, found)
        return found


def _leaves(batches: Iterable[StoredBatch]) -> int:
    return sum(each.size - each.first for each in batches)


def _extended(
    before: Iterable[StoredBatch], rows: Iterable[tuple[int, int, LeafKind]], origin: str
) -> tuple[StoredBatch, ...]:
    made = list(before)
    for first, size, of in rows:
        joins = bool(made) and (made[-1].size, made[-1].of) == (first, of)
        made.append(_blank(origin, made.pop().first if joins else first, size, of))
    return tuple(made)


def _again(said: Iterable[StoredNotice]) -> dict[str, set[tuple[int, int]]]:
    """The batches that these notices name, by the log that has them."""
    found: dict[str, set[tuple[int, int]]] = {}
    for each in said:
        try:
            notice = notices.decode(each.body)
        except Malformed:
            continue
        if isinstance(notice, notices.Continues):
            found.setdefault(notice.previous, set()).update((again.first, again.size) for again in notice.again)
    return found


def _batch(evidence: Evidence, origin: str, first: int, size: int) -> list[StoredBatch]:
    """The batch of records [first, size), where it is held."""
    found = evidence.batches(origin, start=first, below=first + 1)
    return [batch for batch in found if (batch.size, batch.kind) == (size, "records")]


def _blank(origin: str, first: int, size: int, of: LeafKind) -> StoredBatch:
    return StoredBatch(origin, first, size, "stub", of, b"", b"", None, 0, b"")


def _joined(origin: str, size: int, known: Iterable[StoredBatch]) -> list[StoredBatch]:
    """A log's batches as `account` wants them: what lies between the known ones is held, and counted elsewhere."""
    made: list[StoredBatch] = []
    at = 0
    for batch in [*sorted(known, key=lambda each: each.first), _blank(origin, size, size, "notices")]:
        if at < batch.first:
            made.append(msgspec.structs.replace(_blank(origin, at, batch.first, "notices"), kind="notices"))
        if batch.first < batch.size:
            made.append(batch)
        at = max(at, batch.size)
    return made


def _pod_of(evidence: Evidence, origin: str) -> tuple[str, str]:
    """Name and UID of a log's pod, whose name in the log's may be shortened; empty where no certificate says."""
    try:
        pem = b"".join(bytes(chain) for (chain,) in evidence.query(_CHAIN, (origin,)))
        uri, _ = check_leaf(read_pem(pem, "the chain", DEFAULT.chain_bytes, CHAIN_LENGTH)[0], "the leaf")
        subject = parse_spiffe(uri)
    except ProtocolError:
        return "", ""
    return (subject.pod, subject.uid) if isinstance(subject, Producer) else ("", "")
