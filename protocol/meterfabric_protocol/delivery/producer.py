"""The producer: carry every log to every sink, through any relay, until the sink's own signature says it is there.

One cursor a log and sink (`cursor.Cursor`). What is believed is only what the sink signed, for this session and epoch;
a relay can delay, no more. The spool is the shell's: this class is told of sealed batches and asks for others.

It is what a shell talks to, and hands on to four parts that share the logs: `sending.Sender` sends what comes next,
`outcome.Outcomes` draws the consequences of answers, `routes.Routes` keeps the relays, and `upkeep.Upkeep` sees to what
becomes of records that can't be delivered (expiry, room, sinks that join, leave or lose).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.effects import Alarm, Effect, LogFacts, Parcel, SinkPolicy
from meterfabric_protocol.delivery.link import Link
from meterfabric_protocol.delivery.log import Log, cursors
from meterfabric_protocol.delivery.outcome import Outcomes
from meterfabric_protocol.delivery.routes import Routes, VerifySink
from meterfabric_protocol.delivery.sending import Sender, SignPermit
from meterfabric_protocol.delivery.settings import ProducerSettings
from meterfabric_protocol.delivery.upkeep import Boundary, Upkeep
from meterfabric_protocol.errors import ProtocolError


class ProducerCore:
    """Delivery of all logs of one spool. Every method returns effects in the order to be carried out.

    ``now`` is monotonic seconds throughout and never steps back.
    """

    def __init__(
        self,
        settings: ProducerSettings,
        policies: Iterable[SinkPolicy],
        verify_sink: VerifySink,
        sign_permit: SignPermit,
    ) -> None:
        """``policies``: the fabric's sinks, as they were when the spool was last open (`configure` tells changes)."""
        self.settings = settings
        self.logs: dict[str, Log] = {}
        self._routes = Routes(settings, self.logs, verify_sink)
        self._upkeep = Upkeep(settings, policies, self.logs)
        self._outcomes = Outcomes(settings, self._routes)
        self._sender = Sender(settings, self.logs, self._routes, self._upkeep, sign_permit)

    @property
    def policies(self) -> Mapping[str, SinkPolicy]:
        """The fabric's sinks, by name."""
        return self._upkeep.policies

    @property
    def links(self) -> Mapping[str, Link]:
        """The relays that a session is held with, or wished for, by name."""
        return self._routes.links

    # Logs

    def add_log(self, facts: LogFacts, now: float) -> list[Effect]:
        """A log to deliver: at start every one the spool has, later each that is opened."""
        log = Log(facts)
        if facts.active:
            for other in self.logs.values():
                other.active = False
        self.logs[facts.origin] = log
        return self._upkeep.take_over(log, facts.cursors) + self._sender.pump(now)

    def sealed(self, origin: str, parcel: Parcel, now: float) -> list[Effect]:
        """A batch is durable in the spool."""
        self.logs[origin].append(parcel, self.settings.cache)
        return self._sender.pump(now)

    def fetched(self, origin: str, first: int, parcels: Sequence[Parcel], now: float) -> list[Effect]:
        """What `Fetch` asked for (empty where nothing could be read: it is asked again later)."""
        self._sender.fetched(origin, first)
        log = self.logs.get(origin)
        if log is None:
            return []
        effects = self._outcomes.looked_back(log, first, parcels)
        log.cache(parcels, self.settings.cache)
        if not parcels:
            log.unreadable_until = now + self.settings.retry
        return effects + self._sender.pump(now)

    def enrolled(self, origin: str, chain: bytes, now: float) -> list[Effect]:
        """The log has a (new) certificate chain."""
        log = self.logs.get(origin)
        if log is not None:
            log.chain = chain
            for cursor in log.cursors.values():
                cursor.pause_until = 0.0
        return self._sender.pump(now)

    # Relays

    def set_relays(self, relays: Iterable[str], now: float) -> list[Effect]:
        """The relays that exist, by name; hold sessions with the two best."""
        return self._routes.set_relays(relays, now) + self._sender.pump(now)

    def hello_sent(self, relay: str, nonce: bytes) -> None:
        """The shell connected and said HELLO with this nonce; whatever stood before is over."""
        self._routes.hello_sent(relay, nonce)

    def lost(self, relay: str, now: float) -> list[Effect]:
        """The connection broke or the relay refused: what was on its way there goes through another."""
        link = self.links.get(relay)
        if link is None:
            return []
        self._routes.lost(link, now)
        return self._sender.pump(now)

    def received(self, relay: str, message: m.Message, frames: m.Frames, now: float) -> list[Effect]:
        """A message of a relay."""
        link = self.links.get(relay)
        if link is None or not link.nonce:
            return []
        effects: list[Effect] = []
        match message:
            case m.Welcome():
                link.up, link.max_message = True, message.max_message
            case m.Sinks():
                effects = self._routes.reached(link, message.chains)
            case m.Grant():
                link.for_sink(message.sink).grant(message.total, now, self.settings.receipt_timeout)
            case m.Answered():
                return self._answered(link, bytes(frames[0]), bytes(frames[1]), now)
            case m.Unroutable():
                self._unroutable(relay, message, now)
            case m.Draining():
                effects = self._routes.stops(link, now)
            case m.Refused(reason="draining"):
                self._routes.lost(link, now)
                effects = self._routes.stops(link, now)
            case m.Refused():
                self._routes.lost(link, now)
                effects = [Alarm("refused", "", "", f"{relay}: {message.reason}: {message.detail}")]
        return effects + self._sender.pump(now)

    def _unroutable(self, relay: str, message: m.Unroutable, now: float) -> None:
        cursor = self._cursor(message.origin, message.sink)
        if cursor is None or cursor.via != relay or cursor.epoch != message.epoch:
            return
        self._routes.fail(cursor, now)
        if self._routes.preference(cursor, now) == relay:
            # There is no other: not at once again.
            cursor.failures -= 1
            self._routes.back_off(cursor, now)

    def _answered(self, link: Link, body: bytes, signature: bytes, now: float) -> list[Effect]:
        try:
            answer = answers.read(body)
            link.prove(answer, body, signature)
        except ProtocolError as error:
            alarm = Alarm("bad-answer", "", "", f"{link.relay}: {error}")
            return [alarm, *self._routes.ask_for_sinks(link, now, self.settings.receipt_timeout)]
        log, cursor = self.logs.get(answer.origin), self._cursor(answer.origin, answer.sink)
        if log is None or cursor is None:
            return []
        effects: list[Effect] = []
        if answer.epoch == cursor.epoch and cursor.via == link.relay:
            effects = self._outcomes.of(answer, link, log, cursor, now)
        return effects + self._sender.pump(now)

    def _cursor(self, origin: str, sink: str) -> Cursor | None:
        log = self.logs.get(origin)
        return None if log is None else log.cursors.get(sink)

    # Time

    def tick(self, now: float) -> list[Effect]:
        """Call when `due` says, and at least once a second."""
        effects: list[Effect] = []
        for log, cursor in cursors(self.logs):
            if cursor.deadline is not None and now >= cursor.deadline:
                effects.append(
                    Alarm("no-answer", log.origin, cursor.sink, f"{cursor.via} gave none in time, another is tried")
                )
                self._routes.fail(cursor, now)
            elif cursor.known and cursor.deadline is None and now - cursor.head_at >= self.settings.probe_interval:
                # Only where nothing is waited for: a question asked meanwhile would put off giving up for ever.
                cursor.known = False
        for link in self.links.values():
            if any(not link.keys.get(sink) for sink in self.policies):
                effects += self._routes.ask_for_sinks(link, now, self.settings.ask_interval)
        effects += self._sender.heads(now) + self._routes.give_back(now) + self._routes.dial(now)
        return effects + self._upkeep.tick(now) + self._sender.pump(now)

    def due(self) -> float | None:
        """The next time at which `tick` has something to do, None where only messages can bring it."""
        times = [cursor.deadline for _, cursor in cursors(self.logs) if cursor.deadline is not None]
        return min(times, default=None)

    # What can't be delivered: see `upkeep.Upkeep`

    def configure(self, policies: Iterable[SinkPolicy], now: float) -> list[Effect]:
        """The fabric's sinks changed: those that join get what the spool still holds, those that leave nothing more."""
        return self._upkeep.configure(policies)

    def notices_sealed(self, tag: int, now: float) -> list[Effect]:
        """What `SealNotices` asked for is durable."""
        return self._upkeep.notices_sealed(tag) + self._sender.pump(now)

    def damaged(self, origin: str, first: int, size: int, cause: str, now: float) -> list[Effect]:
        """The spool found a batch's payload damaged and put it aside; `Parcel.damaged` once this is durable."""
        return self._upkeep.damaged(origin, first, size, cause)

    def expiry_questions(self, now: float) -> list[Boundary]:
        """What the spool must be asked to find records that waited too long; answer with `expire`."""
        return self._upkeep.expiry_questions(now)

    def relieve(self, missing: int, now: float) -> tuple[list[Effect], list[Boundary]]:
        """The spool needs ``missing`` bytes: what is dropped at once, and what it must be asked to find more."""
        return self._upkeep.relieve(missing)

    def expire(self, origin: str, sink: str, size: int, reason: Literal["age", "quota"], now: float) -> list[Effect]:
        """Give up for this sink what lies before ``size`` (a batch boundary), under a notice."""
        return self._upkeep.expire(origin, sink, size, reason, now)
