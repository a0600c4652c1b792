"""What goes next: questions and heads, and batches to those of a log's sinks that are at the same place, as far as
their windows and the relays' credit go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from meterfabric_protocol import message as m
from meterfabric_protocol.batch import BatchHeader, decode_header, encode_header
from meterfabric_protocol.delivery.cursor import Cursor, Flight
from meterfabric_protocol.delivery.effects import Effect, Fetch, Parcel, Send
from meterfabric_protocol.delivery.link import Link
from meterfabric_protocol.delivery.log import Log, cursors
from meterfabric_protocol.delivery.routes import Routes
from meterfabric_protocol.delivery.settings import ProducerSettings
from meterfabric_protocol.delivery.upkeep import Upkeep

SignPermit: TypeAlias = Callable[[BatchHeader, Sequence[str]], bytes]
"""(stub, sinks) → `permit.sign_permit` with the active log's key and chain."""
Blocked: TypeAlias = dict[tuple[str, str], list[int]]
"""By relay and sink, what each message costs that waits for credit."""


class Sender:
    """Sends what can be sent."""

    def __init__(
        self,
        settings: ProducerSettings,
        logs: Mapping[str, Log],
        routes: Routes,
        upkeep: Upkeep,
        sign_permit: SignPermit,
    ) -> None:
        """``upkeep`` says why, before a stub travels."""
        self._settings = settings
        self._logs = logs
        self._routes = routes
        self._upkeep = upkeep
        self._sign_permit = sign_permit
        self._fetching: set[tuple[str, int]] = set()

    def fetched(self, origin: str, first: int) -> None:
        """The spool answered; it may be asked again."""
        self._fetching.discard((origin, first))

    def pump(self, now: float) -> list[Effect]:
        """Send what can be sent."""
        effects: list[Effect] = []
        blocked: Blocked = {}
        for log in self._logs.values():
            for cursor in log.cursors.values():
                if cursor.acked < log.end or cursor.flights or not cursor.known:
                    effects += self._aim(log, cursor, now)
                if cursor.proving and cursor.known:
                    effects += self._fetch(log, cursor.acked - 1, 1, now)
                if log.has_lost(cursor):
                    effects += self._upkeep.excuse_loss(log, cursor, cursor.floor, log.dropped_to)
            for _ in range(self._settings.burst):
                groups: dict[tuple[str, int, bool], list[Cursor]] = {}
                for cursor in log.cursors.values():
                    if self._ready(log, cursor, now) and cursor.via is not None:
                        groups.setdefault((cursor.via, cursor.sent, cursor.sent < cursor.told), []).append(cursor)
                sent = False
                for (relay, first, there), those in groups.items():
                    done, more = self._ship(log, self._routes.links[relay], first, there, those, blocked, now)
                    effects += more
                    sent = sent or done
                if not sent:
                    break
        return effects + self._wishes(blocked, now)

    def heads(self, now: float) -> list[Effect]:
        """Where a sink lags, its highest checkpoint is told on its own: pending is known even if the pod dies."""
        effects: list[Effect] = []
        for log, cursor in cursors(self._logs):
            relay = cursor.via or self._routes.preference(cursor, now)
            late = now - cursor.head_at >= self._settings.head_interval
            if relay is None or not log.note or cursor.acked >= log.end or not late or not self._routes.links[relay].up:
                continue
            effects.append(self._head(relay, log, cursor, now, probe=False))
        return effects

    # Where to

    def _aim(self, log: Log, cursor: Cursor, now: float) -> list[Effect]:
        """Choose the cursor's relay, and ask the sink where it is if that isn't known."""
        better = self._routes.preference(cursor, now)
        if not cursor.probing:
            # Batches through two relays at once would overtake each other: finish here first.
            cursor.moving = cursor.via is not None and better is not None and better != cursor.via
            if cursor.moving and not cursor.flights:
                cursor.via = None
        if cursor.via is None and better is not None:
            cursor.via, cursor.moving = better, False
        if cursor.via is None or cursor.known or cursor.probing or now < cursor.pause_until or not log.note:
            return []
        cursor.probing = True
        cursor.deadline = now + self._routes.timeout(cursor)
        return [self._head(cursor.via, log, cursor, now, probe=True)]

    def _head(self, relay: str, log: Log, cursor: Cursor, now: float, *, probe: bool) -> Effect:
        cursor.head_at = now
        target = (m.Target(cursor.sink, cursor.epoch),)
        return Send(relay, m.Head(log.origin, target, probe), (log.chain, log.note))

    def _ready(self, log: Log, cursor: Cursor, now: float) -> bool:
        return (
            cursor.known
            and not cursor.joining
            and not cursor.moving
            and not cursor.proving
            and not cursor.showing
            and cursor.sent < log.goal(cursor)
            # What the sink has already comes first: where it differs, all behind it is in vain.
            and (cursor.sent < cursor.told or cursor.acked >= min(cursor.told, log.end))
            and now >= cursor.pause_until
            and cursor.in_flight < self._settings.window
        )

    # What

    def _ship(
        self, log: Log, link: Link, first: int, there: bool, those: list[Cursor], blocked: Blocked, now: float
    ) -> tuple[bool, list[Effect]]:
        """Send the batch at ``first`` to those of the cursors that have credit; (whether any, effects).

        ``there``: the sinks said that they are past it, and only give their answer again; so it goes without payload.
        """
        parcel = log.parcels.get(first)
        if parcel is None:
            return False, self._fetch(log, first, self._settings.fetch, now)
        effects: list[Effect] = []
        if there:
            # Without a permit: a sink that is not past it after all refuses it, and is asked where it is.
            frames: tuple[bytes, ...] = (log.chain, encode_header(decode_header(parcel.header).stub()))
        elif parcel.payload is None:
            effects, those, frames = self._stub(log, those, parcel)
        else:
            frames = (log.chain, parcel.header, parcel.payload)
        cost = m.cost_of(frames)
        able = self._charge(link, those, cost, blocked, now)
        if not able:
            return False, effects
        for cursor in able:
            if not cursor.flights:
                cursor.deadline = now + self._routes.timeout(cursor)
            cursor.take_off(Flight(first, parcel.size, cost, parcel.note, parcel.root, parcel.records, now))
        targets = tuple(m.Target(cursor.sink, cursor.epoch) for cursor in able)
        effects.append(Send(link.relay, m.Batch(log.origin, targets), frames))
        log.trim(self._settings.cache)
        return True, effects

    def _fetch(self, log: Log, first: int, size: int, now: float) -> list[Effect]:
        if (log.origin, first) in self._fetching or now < log.unreadable_until:
            return []
        self._fetching.add((log.origin, first))
        return [Fetch(log.origin, first, size)]

    def _stub(
        self, log: Log, those: list[Cursor], parcel: Parcel
    ) -> tuple[list[Effect], list[Cursor], tuple[bytes, ...]]:
        """For which of the cursors the stub may travel now, and its frames; the others wait for a notice first."""
        effects: list[Effect] = []
        excused = [cursor for cursor in those if cursor.excuses(parcel)]
        for cursor in those:
            if cursor not in excused:
                effects += self._upkeep.excuse_loss(log, cursor, parcel.first, parcel.size)
        if not excused:
            return effects, [], ()
        permit = self._sign_permit(decode_header(parcel.header), [cursor.sink for cursor in excused])
        return effects, excused, (log.chain, parcel.header, permit)

    # Credit

    def _charge(self, link: Link, those: list[Cursor], cost: int, blocked: Blocked, now: float) -> list[Cursor]:
        """Use the credit of those cursors that have enough; the others wait for more."""
        able: list[Cursor] = []
        for cursor in those:
            credit = link.for_sink(cursor.sink)
            if credit.left < cost:
                blocked.setdefault((link.relay, cursor.sink), []).append(cost)
                if cursor.deadline is None:
                    # A relay may be short of memory for a while, and one that withholds credit must not hold us up.
                    cursor.deadline = now + 4 * self._routes.timeout(cursor)
                continue
            credit.used += cost
            credit.used_at = now
            able.append(cursor)
        return able

    def _wishes(self, blocked: Blocked, now: float) -> list[Effect]:
        """Ask for the credit that is missing, and as much again as lies ready behind it.

        A wish is repeated while nothing comes of it, since it or the grant may be lost.
        """
        by_relay: dict[str, dict[str, m.Wish]] = {}
        for (relay, sink), costs in blocked.items():
            credit = self._routes.links[relay].for_sink(sink)
            ready = sum(self._ahead(log, sink, relay) for log in self._logs.values())
            # A wish never shrinks, or the relay would take back what its grant, under way already, lets us use.
            total = max(credit.wish.total, credit.used + max(sum(costs), ready))
            wish = m.Wish(max(costs), total)
            late = now - credit.wished_at >= self._settings.receipt_timeout
            if wish.total > credit.granted and (late or wish != credit.wish):
                credit.ask(wish, now)
                by_relay.setdefault(relay, {})[sink] = wish
        return [Send(relay, m.Want(wishes)) for relay, wishes in by_relay.items()]

    def _ahead(self, log: Log, sink: str, relay: str) -> int:
        """Bytes that lie ready in memory for this sink through this relay."""
        cursor = log.cursors.get(sink)
        if cursor is None or cursor.via != relay:
            return 0
        room = self._settings.window - cursor.in_flight
        return min(room, log.ready_bytes(cursor.sent))
