"""What a sink's answer makes of the cursor it is for: progress, a rewind, or the place where two logs part.

An answer comes here proved (`link.Link.prove`), and in its cursor's epoch: once a cursor is rewound, what was asked
before counts for nothing, so no old answer played back does the same again.
"""

from __future__ import annotations

from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.effects import Alarm, Effect, Fork, Progress, SaveCursor
from meterfabric_protocol.delivery.link import Link
from meterfabric_protocol.delivery.log import Log
from meterfabric_protocol.delivery.routes import Routes
from meterfabric_protocol.delivery.settings import ProducerSettings


class Outcomes:
    """What follows from answers."""

    def __init__(self, settings: ProducerSettings, routes: Routes) -> None:
        self._settings = settings
        self._routes = routes

    def of(self, answer: Answer, link: Link, log: Log, cursor: Cursor, now: float) -> list[Effect]:
        """Move the cursor as the sink's answer says, which came through ``link``."""
        if answer.kind in ("receipt", "passed"):
            return self._receipt(link, log, cursor, answer, now)
        if answer.kind == "position":
            cursor.told = answer.size
            return self._position(log, cursor, answer, now)
        if answer.kind == "conflict":
            cursor.told = answer.size
            return self._conflict(log, cursor, answer)
        return self._refused(log, cursor, answer, now)

    def _receipt(self, link: Link, log: Log, cursor: Cursor, answer: Answer, now: float) -> list[Effect]:
        flight = next((f for f in cursor.flights if f.size == answer.about), None)
        if flight is None or flight.settled:
            return []
        received = answer.kind == "receipt"
        if received and not link.cosigned(answer, flight.note, self._settings.fabric):
            return [Alarm("bad-answer", log.origin, cursor.sink, f"no valid cosignature of the batch at {flight.size}")]
        landed = cursor.settle(answer.about, received, answer.cosignature if received else "")
        if not landed:
            return []
        cursor.failures = 0
        # Until a batch past the sink's position is taken: it may yet be that one which it knows otherwise.
        cursor.walking = cursor.walking and cursor.acked <= cursor.told and cursor.acked < log.end
        cursor.deadline = now + self._settings.receipt_timeout if cursor.flights else None
        effects: list[Effect] = [
            Progress(log.origin, cursor.sink, f.first, f.size, f.received, now - f.sent_at, f.records) for f in landed
        ]
        return [*effects, SaveCursor(log.origin, cursor.sink, cursor.row())]

    def _position(self, log: Log, cursor: Cursor, answer: Answer, now: float) -> list[Effect]:
        """The sink told where it is."""
        effects: list[Effect] = []
        probe = cursor.probing
        stuck = not probe and answer.size <= cursor.acked
        if answer.size < cursor.acked and not probe:
            # It may be older than receipts that overtook it. Only what answers a question asked after them is believed.
            cursor.rewind()
            cursor.known = False
            return []
        if answer.size < cursor.acked:
            effects.append(
                Alarm("sink-behind", log.origin, cursor.sink, f"receipted {cursor.acked}, holds {answer.size} now")
            )
            cursor.acked, cursor.root = answer.size, answer.root
            effects.append(SaveCursor(log.origin, cursor.sink, cursor.row()))
            stuck = False
        elif answer.size > log.size:
            effects.append(Alarm("spool-behind", log.origin, cursor.sink, f"holds {answer.size}, we have {log.size}"))
            if probe and log.active and log.superseded_at is None:
                # Our spool is behind what it once sent; to go on would sign a second root for the sizes up to there.
                log.superseded_at = log.size
                effects.append(Fork(log.origin, log.size, cursor.sink, answer.size))
        elif answer.size == cursor.acked and cursor.root not in (b"", answer.root):
            # Same size, other root: the logs parted below. From the start, the sink's answers find where.
            effects.append(Alarm("equivocation", log.origin, cursor.sink, f"another root at {answer.size} is held"))
            cursor.walk()
        cursor.rewind()
        cursor.known = True
        if stuck:
            if answer.reason == "root":
                self._routes.leave(cursor, now)
            else:
                self._routes.back_off(cursor, now)
        return effects

    def _refused(self, log: Log, cursor: Cursor, answer: Answer, now: float) -> list[Effect]:
        here = (answer.size, answer.root) == (cursor.acked, cursor.root)
        cursor.rewind()
        cursor.known = False
        # What came to the sink may not be what was sent.
        self._routes.leave(cursor, now)
        effects: list[Effect] = [Alarm("refused", log.origin, cursor.sink, f"{answer.reason}: {answer.detail}")]
        if answer.reason == "superseded" and here:
            # A log that our spool knows no more named another end of this one.
            effects += self._end(log, cursor, cursor.acked, answer)
        return effects

    def _conflict(self, log: Log, cursor: Cursor, answer: Answer) -> list[Effect]:
        """The sink holds another log. It ends for us where the two part, which is known once the sink gave its answer
        to every batch before that again."""
        flight = next((f for f in cursor.flights if f.size == answer.about), None)
        probe = cursor.probing
        cursor.rewind()
        if probe:
            return self._conflict_with_head(log, cursor, answer)
        if flight is None or flight.first != cursor.acked:
            return []
        if not cursor.walking:
            cursor.walk()
            cursor.rewind()
            return []
        common, cursor.walking = flight.first, False
        return self._end(log, cursor, common, answer)

    def _conflict_with_head(self, log: Log, cursor: Cursor, answer: Answer) -> list[Effect]:
        """The sink holds another log than the newest checkpoint is of, which was all that it was shown."""
        cursor.known = True
        # Where a log has ended already, its checkpoints past that are contested for good: nothing that isn't known.
        news = log.superseded_at is None or answer.about <= log.superseded_at
        alarm = news and not cursor.walking
        if news or cursor.acked < log.end or answer.size < log.end:
            cursor.walk()
            cursor.rewind()
        what = f"another checkpoint at {answer.about} is held"
        return [Alarm("equivocation", log.origin, cursor.sink, what)] if alarm else []

    def _end(self, log: Log, cursor: Cursor, common: int, answer: Answer) -> list[Effect]:
        """The log ends at ``common``, because the sink takes nothing of it past that."""
        if log.superseded_at is not None and log.superseded_at <= common:
            return []
        log.superseded_at = common
        for other in log.cursors.values():
            other.walking = other.walking and other.acked < common
        return [
            Alarm("equivocation", log.origin, cursor.sink, f"the logs part at {common}: {answer.detail}"),
            Fork(log.origin, common, cursor.sink, answer.size),
        ]
