"""What becomes of records that are not simply delivered, and of payloads no one is owed any more.

Nothing is given up in silence: before a sink may be shown a stub, a notice that says why is durable in the log. Then
only what the sink really takes decides, since a payload that is still here travels as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from meterfabric_protocol import notice as notices
from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.effects import (
    Alarm,
    CursorRow,
    Drop,
    Effect,
    Forget,
    RemoveCursor,
    SaveCursor,
    SealNotices,
    SinkPolicy,
)
from meterfabric_protocol.delivery.log import Log, cursors
from meterfabric_protocol.delivery.settings import ProducerSettings


@dataclass(frozen=True, slots=True)
class Boundary:
    """A question to the spool: up to which batch boundary are records to be given up for a sink?

    From ``first`` on, either all batches sealed before ``older_than`` (monotonic seconds), or about ``bytes``. The
    answer is where the last such batch *of records* ends: notices are small and are never given up, or else each notice
    of expiry would have to expire under another one.
    """

    origin: str
    sink: str
    first: int
    older_than: float | None
    bytes: int | None


class Upkeep:
    """The part of the producer's machine that gives up, drops and forgets."""

    def __init__(self, settings: ProducerSettings, policies: Iterable[SinkPolicy], logs: dict[str, Log]) -> None:
        self.settings = settings
        self.policies: dict[str, SinkPolicy] = {policy.name: policy for policy in policies}
        self.logs = logs
        self._tag = 0
        self._then: dict[int, Callable[[], list[Effect]]] = {}

    # Sinks come and go

    def take_over(self, log: Log, rows: Mapping[str, CursorRow]) -> list[Effect]:
        """Owe a log to every sink, from where the spool kept that the sink is."""
        effects: list[Effect] = []
        for sink in self.policies:
            row = rows.get(sink)
            log.cursors[sink] = self._cursor_of(log, sink, row)
            if row is None and log.dropped_to:
                # It had joined, and a crash came before that was kept.
                effects += self._join(log, sink)
        return effects

    def configure(self, policies: Iterable[SinkPolicy]) -> list[Effect]:
        """The fabric's sinks changed: those that join get what the spool still holds, those that leave nothing more."""
        wanted = {policy.name: policy for policy in policies}
        effects: list[Effect] = []
        for sink in sorted(self.policies.keys() - wanted.keys()):
            for log in self.logs.values():
                cursor = log.cursors.pop(sink, None)
                if cursor is not None:
                    effects.append(RemoveCursor(log.origin, sink))
                    effects += self._seal((notices.SinkLeft(log=log.origin, sink=sink, size=cursor.acked),), list)
        joined = wanted.keys() - self.policies.keys()
        self.policies = wanted
        for sink in sorted(joined):
            for log in self.logs.values():
                effects += self._join(log, sink)
        return effects

    def _join(self, log: Log, sink: str) -> list[Effect]:
        """The sink is owed what the spool still holds of this log; nothing is sent before a notice says from where."""
        cursor = log.cursors.get(sink) or self._cursor_of(log, sink, None)
        log.cursors[sink] = cursor
        start, cursor.joining = log.dropped_to, True

        def done() -> list[Effect]:
            cursor.joining = False
            if start:
                cursor.excuse(0, start)
            return [SaveCursor(log.origin, sink, cursor.row())]

        effects = self._seal((notices.SinkJoined(log=log.origin, sink=sink, size=start),), done)
        cursor.awaiting_notice = self._tag
        return effects

    def _cursor_of(self, log: Log, sink: str, row: CursorRow | None) -> Cursor:
        """A cursor that begins, or goes on from what the spool kept."""
        secret = blake2b(f"{log.origin} {sink}".encode(), digest_size=32, key=self.settings.secret).digest()
        return Cursor(sink, secret=secret) if row is None else Cursor.restore(sink, row, secret)

    # Notices

    def notices_sealed(self, tag: int) -> list[Effect]:
        """What `SealNotices` asked for is durable."""
        then = self._then.pop(tag, None)
        if then is None:
            return []
        for _, cursor in cursors(self.logs):
            if cursor.awaiting_notice == tag:
                cursor.awaiting_notice = None
        return then()

    def excuse_loss(self, log: Log, cursor: Cursor, first: int, size: int) -> list[Effect]:
        """The payload of [first, size) is gone and no notice excuses it: the sink lost what it had given a receipt for.
        Say so, of all that is gone from there on; a stub may travel once that is durable."""
        end = max(size, log.dropped_to)
        if cursor.awaiting_notice is not None:
            return []

        def done() -> list[Effect]:
            cursor.excuse(first, end)
            return [SaveCursor(log.origin, cursor.sink, cursor.row())]

        effects = self._seal((notices.LostBySink(log=log.origin, sink=cursor.sink, ranges=((first, end),)),), done)
        cursor.awaiting_notice = self._tag
        return [Alarm("lost-by-sink", log.origin, cursor.sink, f"[{first}, {end}) was receipted and is gone"), *effects]

    def expire(self, origin: str, sink: str, size: int, reason: Literal["age", "quota"], now: float) -> list[Effect]:
        """Give up for this sink what lies before ``size`` (a batch boundary), under a notice."""
        log = self.logs.get(origin)
        cursor = log.cursors.get(sink) if log else None
        if log is None or cursor is None or cursor.awaiting_notice is not None or size <= cursor.floor:
            return []
        first = cursor.floor

        def done() -> list[Effect]:
            cursor.excuse(first, size)
            return [SaveCursor(log.origin, sink, cursor.row()), *self._drops(log, now)]

        effects = self._seal((notices.Expired(log=origin, sink=sink, ranges=((first, size),), reason=reason),), done)
        cursor.awaiting_notice = self._tag
        return effects

    def damaged(self, origin: str, first: int, size: int, cause: str) -> list[Effect]:
        """The spool found a batch's payload damaged and put it aside; `Parcel.damaged` once this is durable."""
        log = self.logs.get(origin)
        if log is not None:
            log.discard(first)
        return [
            Alarm("damaged", origin, "", f"[{first}, {size}): {cause}"),
            *self._seal((notices.Damaged(log=origin, ranges=((first, size),), cause=cause),), list),
        ]

    # Questions

    def expiry_questions(self, now: float) -> list[Boundary]:
        """What the spool must be asked to find records that waited too long; answer with `expire`.

        Each log and sink comes up 64 times in an expiry period at most, so that a sink which stays away costs few
        notices: a record may wait a 64th longer.
        """
        questions: list[Boundary] = []
        for log, cursor in cursors(self.logs):
            expiry = self.policies[cursor.sink].expiry
            if expiry is None or cursor.floor >= log.end or not cursor.settled:
                continue
            if now - cursor.expiry_at >= expiry / 64:
                cursor.expiry_at = now
                questions.append(Boundary(log.origin, cursor.sink, cursor.floor, now - expiry, None))
        return questions

    def relieve(self, missing: int) -> tuple[list[Effect], list[Boundary]]:
        """The spool needs ``missing`` bytes: payloads that are only retained go first, then what policies let go,
        optional sinks before required ones and old logs before new."""
        effects: list[Effect] = []
        for log in self.logs.values():
            if log.floor > log.dropped_to:
                effects.append(self._drop(log, log.floor))
        if effects:
            return effects, []
        for log in self.logs.values():
            last = [c for c in log.cursors.values() if c.floor < log.end and c.floor == log.floor]
            if last and all(self.policies[cursor.sink].may_expire_for_room for cursor in last):
                # Room comes only when no sink is owed the oldest payload: all that stand there give up together.
                optional = [c for c in last if not self.policies[c.sink].required]
                chosen = optional or last
                return [], [
                    Boundary(log.origin, cursor.sink, cursor.floor, None, missing)
                    for cursor in chosen
                    if cursor.settled
                ]
        return [], []

    # Dropping

    def tick(self, now: float) -> list[Effect]:
        """Drop what has been retained long enough, forget logs that are done."""
        effects: list[Effect] = []
        for log in list(self.logs.values()):
            effects += self._drops(log, now)
            if log.active or not log.finished:
                log.finished_at = None
            elif log.finished_at is None:
                log.finished_at = now
            elif now - log.finished_at >= max(self.settings.linger, self.settings.retain):
                del self.logs[log.origin]
                effects.append(Forget(log.origin))
        return effects

    def _drops(self, log: Log, now: float) -> list[Effect]:
        floor = log.floor
        last_at, last = log.marks[-1] if log.marks else (-1e18, log.dropped_to)
        # At most 64 marks, so that retaining for days costs nothing: a payload may stay a 64th longer.
        if floor > last and now - last_at >= self.settings.retain / 64:
            log.marks.append((now, floor))
        due = 0
        while log.marks and now - log.marks[0][0] >= self.settings.retain:
            due = log.marks.pop(0)[1]
        # A sink restored from a backup may have lowered the floor since the mark was made.
        due = min(due, floor)
        return [self._drop(log, due)] if due > log.dropped_to else []

    def _drop(self, log: Log, size: int) -> Effect:
        log.dropped_to = size
        return Drop(log.origin, size)

    def _seal(self, those: tuple[notices.Notice, ...], then: Callable[[], list[Effect]]) -> list[Effect]:
        self._tag += 1
        self._then[self._tag] = then
        return [SealNotices(self._tag, those)]
