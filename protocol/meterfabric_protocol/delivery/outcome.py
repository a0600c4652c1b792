"""What a sink's answer makes of the cursor it is for: progress, a rewind, or the place where two logs part.

An answer comes here proved (`link.Link.prove`), and in its cursor's epoch: once a cursor is rewound, what was asked
before counts for nothing, so no old answer played back does the same again.
"""

from __future__ import annotations

from collections.abc import Sequence

from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.effects import Alarm, Effect, Fork, Parcel, Progress, SaveCursor
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

    def looked_back(self, log: Log, first: int, parcels: Sequence[Parcel]) -> list[Effect]:
        """The batches from leaf ``first`` on were read: for a cursor that has yet to prove where it is, the one which
        ends there is shown to the sink again; it holds another log where none of ours ends there."""
        effects: list[Effect] = []
        for cursor in log.cursors.values():
            if cursor.proving and parcels and first == cursor.acked - 1:
                cursor.proving = False
                if parcels[0].first <= first and parcels[0].size == cursor.acked:
                    cursor.sent = parcels[0].first
                    continue
                what = f"what it holds ends at {cursor.acked}, where none of our batches does"
                effects.append(Alarm("equivocation", log.origin, cursor.sink, what))
                cursor.walk()
            elif cursor.walking and cursor.sent == first >= log.end and (not parcels or parcels[0].first > first):
                # Past the end there may be gaps; a walk ends at the first one.
                cursor.walking = False
        return effects

    def _receipt(self, link: Link, log: Log, cursor: Cursor, answer: Answer, now: float) -> list[Effect]:
        flight = next((f for f in cursor.flights if f.size == answer.about), None)
        if flight is None or flight.settled:
            return []
        received = answer.kind == "receipt"
        before = cursor.row()
        if received and not link.cosigned(answer, flight.note, self._settings.fabric):
            return [Alarm("bad-answer", log.origin, cursor.sink, f"no valid cosignature of the batch at {flight.size}")]
        landed = cursor.settle(answer.about, received, answer.cosignature if received else "")
        if not landed:
            return []
        cursor.failures = 0
        # Until a batch past the sink's position is taken: it may yet be that one which it knows otherwise.
        cursor.walking = cursor.walking and cursor.acked <= cursor.told and cursor.acked < log.goal(cursor)
        cursor.deadline = now + self._settings.receipt_timeout if cursor.flights else None
        effects: list[Effect] = [
            Progress(log.origin, cursor.sink, f.first, f.size, f.received, now - f.sent_at, f.records)
            for f in landed
            if f.first >= before.acked
        ]
        after = cursor.row()
        return effects if after == before else [*effects, SaveCursor(log.origin, cursor.sink, after)]

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
            cursor.fall_back(answer.size)
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
        # Whether it holds our log up to there: no batch that comes next would show it where we have sent all, or where
        # only the sink says that this is where it is.
        beyond = probe and answer.size > cursor.acked >= log.end
        cursor.proving = cursor.acked > 0 and (beyond or not cursor.root)
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
        if flight is not None and flight.first < cursor.acked:
            cursor.walk()
            return [Alarm("equivocation", log.origin, cursor.sink, f"another batch before {flight.size} is held")]
        if flight is None or flight.first != cursor.acked:
            return []
        if not cursor.walking:
            cursor.walk()
            return []
        common, cursor.walking = flight.first, False
        return self._end(log, cursor, common, answer)

    def _conflict_with_head(self, log: Log, cursor: Cursor, answer: Answer) -> list[Effect]:
        """The sink holds another log than the newest checkpoint is of, which was all that it was shown."""
        cursor.known = True
        # Where a log has ended already, its checkpoints past that are contested for good: nothing that isn't known, but
        # for a sink that had them. Whether it has what comes before the end is asked.
        news = log.superseded_at is None or answer.about <= max(log.superseded_at, cursor.acked)
        alarm = news and not cursor.walking
        if news or cursor.acked < log.end or answer.size < log.end:
            cursor.walk()
        else:
            cursor.proving = cursor.acked > 0
        what = f"another checkpoint at {answer.about} is held"
        return [Alarm("equivocation", log.origin, cursor.sink, what)] if alarm else []

    def _end(self, log: Log, cursor: Cursor, common: int, answer: Answer) -> list[Effect]:
        """The log ends at ``common``, because the sink takes nothing of it past that."""
        if log.superseded_at is not None and log.superseded_at <= common:
            return []
        log.superseded_at = common
        for other in log.cursors.values():
            other.walking = other.walking and other.acked < log.goal(other)
        return [
            Alarm("equivocation", log.origin, cursor.sink, f"the logs part at {common}: {answer.detail}"),
            Fork(log.origin, common, cursor.sink, answer.size),
        ]
