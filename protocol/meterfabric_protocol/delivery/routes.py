"""Which relays a producer is connected to, which of them a cursor uses, and when it leaves that one for another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.effects import Alarm, Dial, Effect, HangUp, Send
from meterfabric_protocol.delivery.link import Link
from meterfabric_protocol.delivery.log import Log, cursors
from meterfabric_protocol.delivery.rendezvous import rank
from meterfabric_protocol.delivery.settings import ProducerSettings
from meterfabric_protocol.errors import ProtocolError

VerifySink: TypeAlias = Callable[[str, bytes], bytes]
"""(sink, chain) → the sink's raw public key, judged now; raises ProtocolError."""


class Routes:
    """The relays there are, and the ways through them to the sinks."""

    def __init__(self, settings: ProducerSettings, logs: Mapping[str, Log], verify_sink: VerifySink) -> None:
        self.links: dict[str, Link] = {}
        self._settings = settings
        self._logs = logs
        self._verify_sink = verify_sink
        self._relays: set[str] = set()
        self._stopping: dict[str, float] = {}
        """Relays that said so, and until when they are left alone."""

    # Sessions

    def set_relays(self, relays: Iterable[str], now: float) -> list[Effect]:
        """The relays that exist, by name."""
        self._relays = set(relays)
        return self.dial(now)

    def stops(self, link: Link, now: float) -> list[Effect]:
        """A relay says that it takes nothing new: to others. It may be listed for a while yet."""
        link.draining = link.up
        self._stopping[link.relay] = now + self._settings.stopping
        return self.dial(now)

    def dial(self, now: float) -> list[Effect]:
        """Hold sessions with the best relays, and with those that still have something of ours on its way."""
        self._stopping = {relay: until for relay, until in self._stopping.items() if until > now}
        # Where there are no others, one that stops may be back at once.
        able = (self._relays - self._stopping.keys()) or self._relays
        wanted = set(rank(self._settings.name, able)[: self._settings.sessions])
        done = {relay for relay, link in self.links.items() if link.draining}
        busy = {cursor.via for _, cursor in cursors(self._logs) if cursor.via and cursor.flights}
        effects: list[Effect] = []
        for relay in sorted(wanted - self.links.keys()):
            self.links[relay] = Link(relay)
            effects.append(Dial(relay))
        for relay in sorted(self.links.keys() - (wanted - done) - busy):
            del self.links[relay]
            for cursor in self._using(relay):
                cursor.rewind()
                cursor.depart()
            effects.append(HangUp(relay))
        return effects

    def hello_sent(self, relay: str, nonce: bytes) -> None:
        """A session begins with this nonce."""
        self.links.setdefault(relay, Link(relay)).reset(nonce)

    def lost(self, link: Link, now: float) -> None:
        """The session is over: what was on its way there goes through another relay."""
        link.reset()
        for cursor in self._using(link.relay):
            cursor.rewind()
            cursor.depart()
            cursor.avoid[link.relay] = now + self._settings.receipt_timeout

    def _using(self, relay: str) -> list[Cursor]:
        return [cursor for _, cursor in cursors(self._logs) if cursor.via == relay]

    # What a relay says that it reaches

    def reached(self, link: Link, chains: Mapping[str, tuple[bytes, ...]]) -> list[Effect]:
        """The sinks that have a worker there, each proved by its workers' chains."""
        effects: list[Effect] = []
        keys: dict[str, tuple[bytes, ...]] = {}
        for sink, those in chains.items():
            proved: list[bytes] = []
            for chain in those:
                try:
                    proved.append(self._verify_sink(sink, chain))
                except ProtocolError as error:
                    effects.append(Alarm("sink-certificate", "", sink, str(error)))
            keys[sink] = tuple(proved)
            if proved and not link.keys.get(sink):
                self._ask_again(sink)
        link.keys = keys
        return effects

    def _ask_again(self, sink: str) -> None:
        """A worker came: what its store holds may not be what it held before."""
        for log in self._logs.values():
            cursor = log.cursors.get(sink)
            if cursor is not None and not cursor.flights:
                cursor.known, cursor.pause_until = False, 0.0

    def ask_for_sinks(self, link: Link, now: float, interval: float) -> list[Effect]:
        """Ask a relay for its sinks, but not more often than that: what it said may have been lost or overtaken."""
        if not link.up or now - link.asked_at < interval:
            return []
        link.asked_at = now
        return [Send(link.relay, m.Want({}))]

    def give_back(self, now: float) -> list[Effect]:
        """Credit that lies unused is memory of the relay that others wait for.

        So is what the relay still waits to receive of messages that were lost: waiting in vain for credit, say as well
        how much was sent.
        """
        effects: list[Effect] = []
        for link in self.links.values():
            wishes: dict[str, m.Wish] = {}
            for sink, credit in link.credit.items():
                if credit.lies_idle(now, self._settings.idle):
                    wishes[sink] = credit.give_back(now)
            if wishes and link.up:
                effects.append(Send(link.relay, m.Want(wishes)))
        return effects

    # A cursor's way

    def preference(self, cursor: Cursor, now: float) -> str | None:
        """The relay that this cursor had best use, None where no relay reaches its sink."""
        able = [relay for relay, link in self.links.items() if link.reaches(cursor.sink)]
        cursor.avoid = {relay: until for relay, until in cursor.avoid.items() if until > now}
        liked = [relay for relay in able if relay not in cursor.avoid]
        return next(iter(rank(self._settings.name, liked or able)), None)

    def timeout(self, cursor: Cursor) -> float:
        """Seconds that an answer is waited for, doubled at each failure in a row."""
        return min(self._settings.receipt_timeout * (1 << min(cursor.failures, 16)), self._settings.backoff_max)

    def fail(self, cursor: Cursor, now: float) -> None:
        """No answer: rewind, and go through another relay."""
        if cursor.via is not None:
            cursor.avoid[cursor.via] = now + self._settings.receipt_timeout * 4
        cursor.failures += 1
        cursor.rewind()
        cursor.depart()

    def back_off(self, cursor: Cursor, now: float) -> None:
        """The answer changes nothing: pause before the sink is told the same again."""
        cursor.pause_until = now + self.timeout(cursor)
        cursor.failures += 1

    def leave(self, cursor: Cursor, now: float) -> None:
        """After a pause go through another relay, if there is one: this one may alter what it carries."""
        self.back_off(cursor, now)
        if cursor.via is not None:
            cursor.avoid[cursor.via] = cursor.pause_until + self._settings.receipt_timeout * 4
            cursor.depart()
