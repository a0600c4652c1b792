"""A whole sink: its logs, what they say of each other, what is stored besides, and the books of every producer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from meterfabric_cli.auditing.finding import Finding
from meterfabric_cli.auditing.log_audit import LogAudit, LogAuditor
from meterfabric_cli.auditing.sink_identity import SinkIdentity
from meterfabric_cli.auditing.vouching import Vouching, check_rights, vouchings
from meterfabric_protocol import notice as notices
from meterfabric_protocol.books import LogBooks, LogEvidence, account
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_protocol.names import parse_origin
from meterfabric_sink.destination.base import DestinationRefused, StoredNotice
from meterfabric_sink.evidence import Evidence


@dataclass
class ProducerBooks:
    """One producer: its logs as audited, and the books of each."""

    namespace: str
    pod: str
    logs: list[LogAudit] = field(default_factory=list)
    books: list[LogBooks] = field(default_factory=list)

    def records(self, fate: str) -> int:
        """Records of one fate, all logs together."""
        return sum(count for books in self.books for name, count in books.records.items() if name == fate)

    @property
    def erased(self) -> int:
        """Delivered records whose bytes were erased since."""
        return sum(log.erased for log in self.logs)


@dataclass
class SinkAudit:
    """What an audit found. `alerts` are what a person should know and what breaks nothing."""

    sinks: list[str]
    producers: list[ProducerBooks]
    findings: list[Finding]
    problems: int
    alerts: list[str]

    @property
    def whole(self) -> bool:
        """Whether everything verifies and every record's fate is known."""
        return not self.problems


def audit(
    evidence: Evidence,
    trust: TrustBundle,
    *,
    columns: bool = False,
    is_gone: Callable[[LogAudit], bool] = lambda log: False,
    progress: Callable[[int], None] = lambda leaves: None,
) -> SinkAudit:
    """Audit everything that a sink holds.

    `columns` asks for the queryable columns to be held against each record's bytes, which takes about twice the time.
    `is_gone` says of a log that isn't closed whether its pod has vanished; `progress` is told the leaves of each batch
    as it was verified.
    """
    verifier = ChainVerifier(trust)
    sink = SinkIdentity(evidence.sink_certificates(), verifier)
    said: dict[str, list[StoredNotice]] = {}
    unreadable = _read(said, evidence)
    vouched = vouchings(said)
    repeated = _repeated(said)
    auditor = LogAuditor(evidence, verifier, sink, progress)
    logs: dict[str, LogAudit] = {}
    for held in () if unreadable else evidence.logs():
        sizes = {word.size for word in vouched.get(held.origin, [])}
        log = auditor.audit(held, said[held.origin], sizes, repeated.get(held.origin, ()))
        logs[held.origin] = log
        for index in evidence.astray(held.origin) if columns else ():
            log.findings.add(index, index + 1, "its columns say other than its bytes do")
    check_rights(logs, vouched)
    findings = [finding for log in logs.values() for finding in log.findings.found]
    problems = sum(log.findings.count for log in logs.values())
    strays = unreadable or _strays(evidence)
    producers = _books(logs, sink, is_gone)
    unexplained = [
        Finding(books.origin, each.first, each.size, "passed over, and no notice that is held says why")
        for producer in producers
        for books in producer.books
        for each in books.stretches
        if each.fate == "unexplained" and not logs[books.origin].findings.count
    ]
    return SinkAudit(
        sorted(sink.names),
        producers,
        [*strays, *findings, *unexplained],
        problems + len(strays) + len(unexplained),
        _alerts(logs, vouched),
    )


def _read(said: dict[str, list[StoredNotice]], evidence: Evidence) -> list[Finding]:
    """Fill in the notices of every log; a finding where not even that can be read."""
    try:
        for held in evidence.logs():
            said[held.origin] = evidence.notices(held.origin)
    except DestinationRefused as error:
        return [Finding("", 0, 0, f"what is stored can't be read: {error}")]
    return []


def _strays(evidence: Evidence) -> list[Finding]:
    try:
        return [Finding("", 0, 0, stray) for stray in evidence.strays()]
    except DestinationRefused as error:
        return [Finding("", 0, 0, f"what is stored can't be read: {error}")]


def _repeated(said: dict[str, list[StoredNotice]]) -> dict[str, set[tuple[int, int]]]:
    """The batches of each log that later logs say they repeat, and where those stand again."""
    found: dict[str, set[tuple[int, int]]] = {}
    for origin, stored in said.items():
        for each in stored:
            try:
                notice = notices.decode(each.body)
            except Malformed:
                continue
            if isinstance(notice, notices.Continues):
                for again in notice.again:
                    found.setdefault(notice.previous, set()).add((again.first, again.size))
                    found.setdefault(origin, set()).add((again.at, again.at + again.size - again.first))
    return found


def _books(logs: dict[str, LogAudit], sink: SinkIdentity, is_gone: Callable[[LogAudit], bool]) -> list[ProducerBooks]:
    producers: dict[tuple[str, str, str], ProducerBooks] = {}
    for log in logs.values():
        try:
            name = parse_origin(log.origin)
        except Malformed:
            continue  # a finding already
        found = producers.setdefault((name.fabric, name.namespace, name.pod), ProducerBooks(name.namespace, name.pod))
        found.logs.append(log)
    short = next(iter(sink.names.values()), "")
    for producer in producers.values():
        gone: Collection[str] = [log.origin for log in producer.logs if not log.held.closed and is_gone(log)]
        evidence = [LogEvidence(log.held, log.batches, log.notices) for log in producer.logs]
        producer.books = account(evidence, short, gone)
    return [producers[key] for key in sorted(producers)]


def _alerts(logs: dict[str, LogAudit], vouched: dict[str, list[Vouching]]) -> list[str]:
    alerts = []
    for origin, log in logs.items():
        for two in log.equivocations:
            alerts.append(f"{origin}: two checkpoints of one key can't both be true, they part at leaf {two.size}")
        if log.unenrolled_to and not log.findings.count:
            words = ", ".join(word.voucher for word in vouched.get(origin, []))
            alerts.append(f"{origin}: received without a certificate, vouched for by {words}")
    return alerts
