"""The producer: carry every log to every sink, through any relay, until the sink's own signature says it is there.

One cursor a log and sink (`cursor.Cursor`). Cursors at the same place through the same relay share one copy of a batch;
one that lags is served alone. What is believed is only what the sink signed, for this session and epoch; a relay can
delay, no more. The spool is the shell's: this class is told of sealed batches and asks for others.

What becomes of records that can't be delivered (expiry, room, sinks that join, leave or lose) is `upkeep.Upkeep`, which
this class inherits: two halves of one machine, over the same cursors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol import cosignature
from meterfabric_protocol import message as m
from meterfabric_protocol.batch import BatchHeader, decode_header, encode_header
from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.delivery.cursor import Cursor, Flight
from meterfabric_protocol.delivery.effects import (
    Alarm,
    Dial,
    Effect,
    Fetch,
    Fork,
    HangUp,
    LogFacts,
    Parcel,
    Progress,
    SaveCursor,
    Send,
    SinkPolicy,
)
from meterfabric_protocol.delivery.link import Link
from meterfabric_protocol.delivery.log import Log
from meterfabric_protocol.delivery.rendezvous import rank
from meterfabric_protocol.delivery.upkeep import ProducerSettings, Upkeep
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.identity import cosigner

VerifySink: TypeAlias = Callable[[str, bytes], bytes]
"""(sink, chain) → the sink's raw public key, judged now; raises ProtocolError."""
SignPermit: TypeAlias = Callable[[BatchHeader, Sequence[str]], bytes]
"""(stub, sinks) → `permit.sign_permit` with the active log's key and chain."""


class ProducerCore(Upkeep):
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
        super().__init__(settings, policies)
        self._sign_permit = sign_permit
        self._verify_sink = verify_sink
        self.links: dict[str, Link] = {}
        self._relays: set[str] = set()
        self._fetching: set[tuple[str, int]] = set()

    # Logs

    def add_log(self, facts: LogFacts, now: float) -> list[Effect]:
        """A log to deliver: at start every one the spool has, later each that is opened."""
        log = Log(facts)
        if facts.active:
            for other in self.logs.values():
                other.active = False
        self.logs[facts.origin] = log
        effects: list[Effect] = []
        for sink in self.policies:
            row = facts.cursors.get(sink)
            log.cursors[sink] = self._cursor_of(log, sink, row)
            if row is None and log.dropped_to:
                # It had joined, and a crash came before that was kept.
                effects += self._join(log, sink)
        return effects + self._pump(now)

    def sealed(self, origin: str, parcel: Parcel, now: float) -> list[Effect]:
        """A batch is durable in the spool."""
        log = self.logs[origin]
        log.append(parcel, self.settings.cache)
        return self._pump(now)

    def fetched(self, origin: str, first: int, parcels: Sequence[Parcel], now: float) -> list[Effect]:
        """What `Fetch` asked for (empty where nothing could be read: it is asked again later)."""
        self._fetching.discard((origin, first))
        log = self.logs.get(origin)
        if log is None:
            return []
        log.cache(parcels, self.settings.cache)
        if not parcels:
            log.unreadable_until = now + self.settings.retry
        return self._pump(now)

    def enrolled(self, origin: str, chain: bytes, now: float) -> list[Effect]:
        """The log has a (new) certificate chain."""
        log = self.logs.get(origin)
        if log is not None:
            log.chain = chain
            for cursor in log.cursors.values():
                cursor.pause_until = 0.0
        return self._pump(now)

    # Relays

    def set_relays(self, relays: Iterable[str], now: float) -> list[Effect]:
        """The relays that exist, by name; hold sessions with the two best."""
        self._relays = set(relays)
        return self._dial(now) + self._pump(now)

    def hello_sent(self, relay: str, nonce: bytes) -> None:
        """The shell connected and said HELLO with this nonce; whatever stood before is over."""
        self.links.setdefault(relay, Link(relay)).reset(nonce)

    def lost(self, relay: str, now: float) -> list[Effect]:
        """The connection broke or the relay refused: what was on its way there goes through another."""
        link = self.links.get(relay)
        if link is None:
            return []
        link.reset()
        for log in self.logs.values():
            for cursor in log.cursors.values():
                if cursor.via == relay:
                    cursor.rewind()
                    cursor.via, cursor.known, cursor.moving = None, False, False
                    cursor.avoid[relay] = now + self.settings.receipt_timeout
        return self._pump(now)

    def received(self, relay: str, message: m.Message, frames: m.Frames, now: float) -> list[Effect]:
        """A message of a relay."""
        link = self.links.get(relay)
        if link is None or not link.nonce:
            return []
        if isinstance(message, m.Welcome):
            link.up, link.max_message = True, message.max_message
        elif isinstance(message, m.Sinks):
            return self._sinks(link, message, now)
        elif isinstance(message, m.Grant):
            link.for_sink(message.sink).grant(message.total, now, self.settings.receipt_timeout)
        elif isinstance(message, m.Answered):
            return self._answered(link, bytes(frames[0]), bytes(frames[1]), now)
        elif isinstance(message, m.Unroutable):
            cursor = self._cursor(message.origin, message.sink)
            if cursor is not None and cursor.via == relay and cursor.epoch == message.epoch:
                self._fail(cursor, now)
                if self._preference(cursor.sink, cursor, now) == relay:
                    # There is no other: not at once again.
                    cursor.failures -= 1
                    self._back_off(cursor, now)
        elif isinstance(message, m.Draining):
            link.draining = True
            return self._dial(now) + self._pump(now)
        elif isinstance(message, m.Refused):
            return [Alarm("refused", "", "", f"{relay}: {message.reason}: {message.detail}"), *self.lost(relay, now)]
        return self._pump(now)

    def tick(self, now: float) -> list[Effect]:
        """Call when `due` says, and at least once a second."""
        effects: list[Effect] = []
        for log in self.logs.values():
            for cursor in log.cursors.values():
                if cursor.deadline is not None and now >= cursor.deadline:
                    effects.append(
                        Alarm("no-answer", log.origin, cursor.sink, f"{cursor.via} gave none in time, another is tried")
                    )
                    self._fail(cursor, now)
                elif cursor.known and cursor.deadline is None and now - cursor.head_at >= self.settings.probe_interval:
                    # Only where nothing is waited for: a question asked meanwhile would put off giving up for ever.
                    cursor.known = False
        for link in self.links.values():
            if any(not link.keys.get(sink) for sink in self.policies):
                effects += self._ask(link, now, self.settings.ask_interval)
        effects += self._heads(now) + self._give_back(now) + self._dial(now) + self.upkeep(now)
        return effects + self._pump(now)

    def due(self) -> float | None:
        """The next time at which `tick` has something to do, None where only messages can bring it."""
        times = [c.deadline for log in self.logs.values() for c in log.cursors.values() if c.deadline is not None]
        return min(times, default=None)

    # Answers

    def _sinks(self, link: Link, message: m.Sinks, now: float) -> list[Effect]:
        effects: list[Effect] = []
        keys: dict[str, tuple[bytes, ...]] = {}
        for sink, chains in message.chains.items():
            proved: list[bytes] = []
            for chain in chains:
                try:
                    proved.append(self._verify_sink(sink, chain))
                except ProtocolError as error:
                    effects.append(Alarm("sink-certificate", "", sink, str(error)))
            keys[sink] = tuple(proved)
            if proved and not link.keys.get(sink):
                self._ask_again(sink)
        link.keys = keys
        return effects + self._pump(now)

    def _ask_again(self, sink: str) -> None:
        """A worker came: what its store holds may not be what it held before."""
        for log in self.logs.values():
            cursor = log.cursors.get(sink)
            if cursor is not None and not cursor.flights:
                cursor.known, cursor.pause_until = False, 0.0

    def _answered(self, link: Link, body: bytes, signature: bytes, now: float) -> list[Effect]:
        try:
            answer = answers.read(body)
            self._prove(link, answer, body, signature)
        except ProtocolError as error:
            alarm = Alarm("bad-answer", "", "", f"{link.relay}: {error}")
            return [alarm, *self._ask(link, now, self.settings.receipt_timeout)]
        log, cursor = self.logs.get(answer.origin), self._cursor(answer.origin, answer.sink)
        if log is None or cursor is None:
            return []
        if answer.epoch != cursor.epoch or cursor.via != link.relay:
            effects = []
        elif answer.kind in ("receipt", "passed"):
            effects = self._receipt(link, log, cursor, answer, now)
        elif answer.kind == "position":
            cursor.told = answer.size
            effects = self._position(log, cursor, answer, now)
        elif answer.kind == "conflict":
            cursor.told = answer.size
            effects = self._conflict(log, cursor, answer, now)
        else:
            effects = self._refused(log, cursor, answer, now)
        return effects + self._pump(now)

    def _prove(self, link: Link, answer: answers.Answer, body: bytes, signature: bytes) -> None:
        if answer.nonce != link.nonce:
            raise answers.BadAnswer("the answer is to another session")
        failure: ProtocolError = answers.BadAnswer(f"no certificate of sink {answer.sink} is known")
        for key in link.keys.get(answer.sink, ()):
            try:
                answers.verify(body, signature, key)
            except ProtocolError as error:
                failure = error
            else:
                return
        raise failure

    def _receipt(self, link: Link, log: Log, cursor: Cursor, answer: answers.Answer, now: float) -> list[Effect]:
        flight = next((f for f in cursor.flights if f.size == answer.about), None)
        if flight is None or flight.settled:
            return []
        received = answer.kind == "receipt"
        if received and not self._cosigned(link, flight, answer):
            return [Alarm("bad-answer", log.origin, cursor.sink, f"no valid cosignature of the batch at {flight.size}")]
        landed = cursor.settle(answer.about, received, answer.cosignature if received else "")
        if not landed:
            return []
        cursor.failures = 0
        # Until a batch past the sink's position is taken: it may yet be that one which it knows otherwise.
        cursor.walking = cursor.walking and cursor.acked <= cursor.told and cursor.acked < log.end
        cursor.deadline = now + self.settings.receipt_timeout if cursor.flights else None
        effects: list[Effect] = [
            Progress(log.origin, cursor.sink, f.first, f.size, f.received, now - f.sent_at, f.records) for f in landed
        ]
        return [*effects, SaveCursor(log.origin, cursor.sink, cursor.row())]

    def _cosigned(self, link: Link, flight: Flight, answer: answers.Answer) -> bool:
        text = checkpoints.parse(flight.note).text
        name = cosigner(self.settings.fabric, answer.sink)
        for key in link.keys[answer.sink]:
            try:
                cosignature.verify(text, answer.cosignature.encode(), name, key)
            except ProtocolError:
                continue
            return True
        return False

    def _position(self, log: Log, cursor: Cursor, answer: answers.Answer, now: float) -> list[Effect]:
        """The sink told where it is. Each epoch rewinds once, so no old answer played back does it again."""
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
                self._leave(cursor, now)
            else:
                self._back_off(cursor, now)
        return effects

    def _refused(self, log: Log, cursor: Cursor, answer: answers.Answer, now: float) -> list[Effect]:
        here = (answer.size, answer.root) == (cursor.acked, cursor.root)
        cursor.rewind()
        cursor.known = False
        # What came to the sink may not be what was sent.
        self._leave(cursor, now)
        effects: list[Effect] = [Alarm("refused", log.origin, cursor.sink, f"{answer.reason}: {answer.detail}")]
        if answer.reason == "superseded" and here:
            # A log that our spool knows no more named another end of this one.
            effects += self._end(log, cursor, cursor.acked, answer)
        return effects

    def _conflict(self, log: Log, cursor: Cursor, answer: answers.Answer, now: float) -> list[Effect]:
        """The sink holds another log. It ends for us where the two part, which is known once the sink gave its answer
        to every batch before that again."""
        flight = next((f for f in cursor.flights if f.size == answer.about), None)
        probe = cursor.probing
        cursor.rewind()
        if probe:
            cursor.known = True
            if cursor.acked < log.end or answer.size < log.end:
                cursor.walk()
                cursor.rewind()
            return []
        if flight is None or flight.first != cursor.acked:
            return []
        if not cursor.walking:
            cursor.walk()
            cursor.rewind()
            return []
        common, cursor.walking = flight.first, False
        return self._end(log, cursor, common, answer)

    def _end(self, log: Log, cursor: Cursor, common: int, answer: answers.Answer) -> list[Effect]:
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

    # Moving batches

    def _cursor(self, origin: str, sink: str) -> Cursor | None:
        log = self.logs.get(origin)
        return None if log is None else log.cursors.get(sink)

    def _back_off(self, cursor: Cursor, now: float) -> None:
        cursor.failures += 1
        cursor.pause_until = now + min(
            self.settings.receipt_timeout * (1 << min(cursor.failures - 1, 16)), self.settings.backoff_max
        )

    def _leave(self, cursor: Cursor, now: float) -> None:
        """After a pause go through another relay, if there is one: this one may alter what it carries."""
        self._back_off(cursor, now)
        if cursor.via is not None:
            cursor.avoid[cursor.via] = cursor.pause_until + self.settings.receipt_timeout * 4
            cursor.via, cursor.known, cursor.moving = None, False, False

    def _fail(self, cursor: Cursor, now: float) -> None:
        """No answer: rewind, and go through another relay."""
        if cursor.via is not None:
            cursor.avoid[cursor.via] = now + self.settings.receipt_timeout * 4
        cursor.failures += 1
        cursor.rewind()
        cursor.via, cursor.known, cursor.moving = None, False, False

    def _timeout(self, cursor: Cursor) -> float:
        return min(self.settings.receipt_timeout * (1 << min(cursor.failures, 16)), self.settings.backoff_max)

    def _preference(self, sink: str, cursor: Cursor, now: float) -> str | None:
        able = [relay for relay, link in self.links.items() if link.reaches(sink)]
        cursor.avoid = {relay: until for relay, until in cursor.avoid.items() if until > now}
        liked = [relay for relay in able if relay not in cursor.avoid]
        return next(iter(rank(self.settings.name, liked or able)), None)

    def _aim(self, log: Log, cursor: Cursor, now: float) -> list[Effect]:
        """Choose the cursor's relay, and ask the sink where it is if that isn't known."""
        better = self._preference(cursor.sink, cursor, now)
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
        cursor.deadline = now + self._timeout(cursor)
        cursor.head_at = now
        target = (m.Target(cursor.sink, cursor.epoch),)
        return [Send(cursor.via, m.Head(log.origin, target, True), (log.chain, log.note))]

    def _pump(self, now: float) -> list[Effect]:
        """Send what can be sent."""
        effects: list[Effect] = []
        blocked: dict[tuple[str, str], list[int]] = {}
        for log in self.logs.values():
            for cursor in log.cursors.values():
                if cursor.acked < log.end or cursor.flights or not cursor.known:
                    effects += self._aim(log, cursor, now)
            for _ in range(self.settings.burst):
                groups: dict[tuple[str, int, bool], list[Cursor]] = {}
                for cursor in log.cursors.values():
                    if self._ready(log, cursor, now) and cursor.via is not None:
                        groups.setdefault((cursor.via, cursor.sent, cursor.sent < cursor.told), []).append(cursor)
                sent = False
                for (relay, first, there), cursors in groups.items():
                    done, more = self._ship(log, self.links[relay], first, there, cursors, blocked, now)
                    effects += more
                    sent = sent or done
                if not sent:
                    break
        return effects + self._wishes(blocked, now)

    def _ready(self, log: Log, cursor: Cursor, now: float) -> bool:
        return (
            cursor.known
            and not cursor.joining
            and not cursor.moving
            and cursor.sent < log.end
            # What the sink has already comes first: where it differs, all behind it is in vain.
            and (cursor.sent < cursor.told or cursor.acked >= min(cursor.told, log.end))
            and now >= cursor.pause_until
            and cursor.in_flight < self.settings.window
        )

    def _ship(
        self,
        log: Log,
        link: Link,
        first: int,
        there: bool,
        cursors: list[Cursor],
        blocked: dict[tuple[str, str], list[int]],
        now: float,
    ) -> tuple[bool, list[Effect]]:
        """Send the batch at ``first`` to those of the cursors that have credit; (whether any, effects).

        ``there``: the sinks said that they are past it, and only give their answer again; so it goes without payload.
        """
        parcel = log.parcels.get(first)
        if parcel is None:
            if (log.origin, first) in self._fetching or now < log.unreadable_until:
                return False, []
            self._fetching.add((log.origin, first))
            return False, [Fetch(log.origin, first, self.settings.fetch)]
        effects: list[Effect] = []
        if there:
            # Without a permit: a sink that is not past it after all refuses it, and is asked where it is.
            frames: tuple[bytes, ...] = (log.chain, encode_header(decode_header(parcel.header).stub()))
        elif parcel.payload is None:
            effects, cursors, frames = self._stub(log, cursors, parcel)
        else:
            frames = (log.chain, parcel.header, parcel.payload)
        cost = m.cost_of(frames)
        able: list[Cursor] = []
        for cursor in cursors:
            credit = link.for_sink(cursor.sink)
            if credit.left < cost:
                blocked.setdefault((link.relay, cursor.sink), []).append(cost)
                if cursor.deadline is None:
                    # A relay may be short of memory for a while, and one that withholds credit must not hold us up.
                    cursor.deadline = now + 4 * self._timeout(cursor)
                continue
            credit.used += cost
            credit.used_at = now
            able.append(cursor)
        if not able:
            return False, effects
        for cursor in able:
            if not cursor.flights:
                cursor.deadline = now + self._timeout(cursor)
            cursor.take_off(Flight(first, parcel.size, cost, parcel.note, parcel.root, parcel.records, now))
        targets = tuple(m.Target(cursor.sink, cursor.epoch) for cursor in able)
        effects.append(Send(link.relay, m.Batch(log.origin, targets), frames))
        log.trim(self.settings.cache)
        return True, effects

    def _stub(
        self, log: Log, cursors: list[Cursor], parcel: Parcel
    ) -> tuple[list[Effect], list[Cursor], tuple[bytes, ...]]:
        """For which of the cursors the stub may travel now, and its frames; the others wait for a notice first."""
        effects: list[Effect] = []
        excused = [cursor for cursor in cursors if cursor.excuses(parcel)]
        for cursor in cursors:
            if cursor not in excused:
                effects += self.excuse_loss(log, cursor, parcel)
        if not excused:
            return effects, [], ()
        permit = self._sign_permit(decode_header(parcel.header), [cursor.sink for cursor in excused])
        return effects, excused, (log.chain, parcel.header, permit)

    def _wishes(self, blocked: dict[tuple[str, str], list[int]], now: float) -> list[Effect]:
        """Ask for the credit that is missing, and as much again as lies ready behind it.

        A wish is repeated while nothing comes of it, since it or the grant may be lost.
        """
        by_relay: dict[str, dict[str, m.Wish]] = {}
        for (relay, sink), costs in blocked.items():
            credit = self.links[relay].for_sink(sink)
            ready = sum(self._ahead(log, sink, relay) for log in self.logs.values())
            # A wish never shrinks, or the relay would take back what its grant, under way already, lets us use.
            total = max(credit.wish.total, credit.used + max(sum(costs), ready))
            wish = m.Wish(max(costs), total)
            late = now - credit.wished_at >= self.settings.receipt_timeout
            if wish.total > credit.granted and (late or wish != credit.wish):
                credit.ask(wish, now)
                by_relay.setdefault(relay, {})[sink] = wish
        return [Send(relay, m.Want(wishes)) for relay, wishes in by_relay.items()]

    def _ahead(self, log: Log, sink: str, relay: str) -> int:
        """Bytes that lie ready in memory for this sink through this relay."""
        cursor = log.cursors.get(sink)
        if cursor is None or cursor.via != relay:
            return 0
        room = self.settings.window - cursor.in_flight
        return min(room, log.ready_bytes(cursor.sent))

    def _give_back(self, now: float) -> list[Effect]:
        """Credit that lies unused is memory of the relay that others wait for.

        So is what the relay still waits to receive of messages that were lost: waiting in vain for credit, say as well
        how much was sent.
        """
        effects: list[Effect] = []
        for link in self.links.values():
            wishes: dict[str, m.Wish] = {}
            for sink, credit in link.credit.items():
                if credit.lies_idle(now, self.settings.idle):
                    wishes[sink] = credit.give_back(now)
            if wishes and link.up:
                effects.append(Send(link.relay, m.Want(wishes)))
        return effects

    def _heads(self, now: float) -> list[Effect]:
        """Where a sink lags, its highest checkpoint is told on its own: pending is known even if the pod dies."""
        effects: list[Effect] = []
        for log in self.logs.values():
            for cursor in log.cursors.values():
                relay = cursor.via or self._preference(cursor.sink, cursor, now)
                late = now - cursor.head_at >= self.settings.head_interval
                if relay is None or not log.note or cursor.acked >= log.end or not late or not self.links[relay].up:
                    continue
                cursor.head_at = now
                target = (m.Target(cursor.sink, cursor.epoch),)
                effects.append(Send(relay, m.Head(log.origin, target, False), (log.chain, log.note)))
        return effects

    def _ask(self, link: Link, now: float, interval: float) -> list[Effect]:
        """Ask a relay for its sinks, but not more often than that: what it said may have been lost or overtaken."""
        if not link.up or now - link.asked_at < interval:
            return []
        link.asked_at = now
        return [Send(link.relay, m.Want({}))]

    def _dial(self, now: float) -> list[Effect]:
        able = [relay for relay in self._relays if not (relay in self.links and self.links[relay].draining)]
        wanted = set(rank(self.settings.name, able)[: self.settings.sessions])
        busy = {c.via for log in self.logs.values() for c in log.cursors.values() if c.via and c.flights}
        effects: list[Effect] = []
        for relay in sorted(wanted - self.links.keys()):
            self.links[relay] = Link(relay)
            effects.append(Dial(relay))
        for relay in sorted(self.links.keys() - wanted - busy):
            del self.links[relay]
            for log in self.logs.values():
                for cursor in log.cursors.values():
                    if cursor.via == relay:
                        cursor.rewind()
                        cursor.via, cursor.known, cursor.moving = None, False, False
            effects.append(HangUp(relay))
        return effects
