"""By what right each log is in a sink: a certificate valid when it was received, or an enrolled log that names its end.

The sink judged so when it took the batches; this judges the same from what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meterfabric_cli.auditing.log_audit import LogAudit
from meterfabric_protocol import notice as notices
from meterfabric_protocol.delivery.stored import UNNAMED
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.names import same_pod
from meterfabric_sink.destination.base import StoredNotice


@dataclass(frozen=True, slots=True)
class Vouching:
    """The log `voucher` says that the log before it ends at `size` with `root`."""

    voucher: str
    size: int
    root: bytes


def vouchings(said: Mapping[str, Iterable[StoredNotice]]) -> dict[str, list[Vouching]]:
    """What the notices of all logs (by origin) say of each log's end, of the same pod's logs alone."""
    found: dict[str, list[Vouching]] = {}
    for voucher, stored in said.items():
        for each in stored:
            try:
                notice = notices.decode(each.body)
                if isinstance(notice, notices.Continues) and same_pod(voucher, notice.previous):
                    found.setdefault(notice.previous, []).append(Vouching(voucher, notice.size, notice.root))
            except Malformed:
                continue
    return found


def check_rights(logs: Mapping[str, LogAudit], vouched: Mapping[str, list[Vouching]]) -> None:
    """Add a finding to each log that was taken by no right, or whose end isn't what was named."""
    for log in logs.values():
        words = vouched.get(log.origin, [])
        for word in words:
            if log.roots.get(word.size, word.root) != word.root and not _is_known_fork(log, word, words):
                log.findings.add(0, word.size, f"{word.voucher} names another root as its end at {word.size}")
        held = log.held
        named = (held.final_size, held.final_root, held.vouched_by)
        if held.final_size != UNNAMED and named not in {(word.size, word.root, word.voucher) for word in words}:
            log.findings.add(0, 0, f"its position row names {held.final_size} as its end, no later log says so")
        if log.unenrolled_to and not _has_right(log, logs, vouched, frozenset()):
            why = f"no certificate when it was received ({log.unenrolled_why}), and no enrolled log vouches for it"
            log.findings.add(0, log.unenrolled_to, why)


def _has_right(
    log: LogAudit,
    logs: Mapping[str, LogAudit],
    vouched: Mapping[str, list[Vouching]],
    asking: frozenset[str],
) -> bool:
    if not log.unenrolled_to:
        return True
    for word in vouched.get(log.origin, []):
        voucher = logs.get(word.voucher)
        fits = log.unenrolled_to <= word.size and log.roots.get(word.size, word.root) == word.root
        beyond = log.held.size < word.size or word.size in log.roots
        if voucher is None or voucher.origin in asking or not fits or not beyond:
            continue
        if _has_right(voucher, logs, vouched, asking | {log.origin}):
            return True
    return False


def _is_known_fork(log: LogAudit, word: Vouching, words: Iterable[Vouching]) -> bool:
    """Whether the pod itself says that the log parted before the end that `word` names: this sink holds one branch,
    `word` is of the other, and what is held beyond the fork is told by the books."""
    if log.equivocations:
        return True
    return any(other.size < word.size and log.roots.get(other.size) == other.root for other in words)
