"""Records over ZeroMQ: many in one message, answered once they are durable, for a client that counts its credit.

A ROUTER on 127.0.0.1; clients are DEALERs. Frames, integers as 8 bytes big-endian:

    HELLO "1"              →  CREDIT bytes           first; counts from zero on both sides, also when repeated
    SEND id ndjson         →  OK id | NO id problem  id: 8 bytes of the client's choice; problem: RFC 9457 JSON
                           ←  CREDIT bytes           as memory comes free; cumulative, so a later one replaces it

A client may send while the lengths of all its ndjson frames since HELLO, the new one's too, sum to at most the credit.
While the spool is full no credit is granted.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Final

import zmq

from meterfabric_protocol.limits import Limits
from meterfabric_protocol.record import RecordError, Split, split_lines
from meterfabric_runtime.zmq_loop import LoopSocket
from meterfabric_runtime.zmq_options import Bounds, open_socket, port_of

from . import problem
from .cap import ConnectionCap
from .credit import Client, CreditBounds, Ledger
from .http import HOST
from .intake import Full, Intake, Refused, Unavailable
from .problem import Problem
from .tally import Tally

log = logging.getLogger(__name__)

VERSION: Final = b"1"
_NO_ID: Final = bytes(8)
# Beyond a batch's limit a message is still read, so that its sender is told; beyond this its connection is closed.
_SLACK: Final = 1024 * 1024
# A message may hold many records, so few are read before the loop gets its turn.
_TURN: Final = 8
# Credit that is too little to be told with each answer is told this much later.
_TOP_UP_SECONDS: Final = 0.02


@dataclass(frozen=True)
class ZeromqBounds:
    """Limits of ZeroMQ ingest. Times in seconds."""

    credit: CreditBounds = field(default_factory=CreditBounds)
    in_service: int = 4096  # messages being answered at once; beyond it nothing is read
    connections: int = 128  # with or without HELLO; those beyond are dropped at their handshake
    handshake: int = 1000  # ms until a connection that was not let in, or says nothing, is closed
    queued: int = 64  # messages per connection in libzmq on their way in
    answers: int = 4096  # and on their way out, small ones; a client that leaves more unread is forgotten
    sweep_seconds: float = 10.0  # how often clients that went away are looked for


class ZeromqIngest:
    """Serves from construction on; `close` when done. One loop, its thread only."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        port: int,
        intake: Intake,
        limits: Limits,
        bounds: ZeromqBounds,
    ) -> None:
        """Bind HOST:port (0: any free one) in a `context` of its own (`ConnectionCap` says why).

        Raises zmq.ZMQError when the port is taken.
        """
        self._intake = intake
        self._limits = limits
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger(bounds.credit)
        self._peers: dict[bytes, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._room_again: asyncio.TimerHandle | None = None
        self._top_up: asyncio.TimerHandle | None = None
        self.tally = Tally()
        options = Bounds(message=limits.batch_bytes + _SLACK, queued=bounds.queued, handshake=bounds.handshake)
        socket = open_socket(context, zmq.ROUTER, options)
        socket.setsockopt(zmq.SNDHWM, bounds.answers)
        self._cap = ConnectionCap(socket, bounds.connections)
        try:
            socket.bind(f"tcp://{HOST}:{port}")
        except zmq.ZMQError:
            self._cap.close()
            socket.close(0)
            raise
        self.port = port_of(socket)
        self._socket = LoopSocket(socket, on_message=self._receive, turn=_TURN)
        self._sweep_timer = self._loop.call_later(bounds.sweep_seconds, self._sweep_and_again)

    @property
    def clients(self) -> int:
        return len(self._ledger)

    @property
    def connections(self) -> int:
        """Connections that stand now, clients or not."""
        return self._cap.standing

    @property
    def connections_refused(self) -> int:
        """Dropped at the cap since the start."""
        return self._cap.refused

    @property
    def connections_ended(self) -> int:
        """Closed since the start, by either end; that of an oversized frame is one, and libzmq does not say which."""
        return self._cap.ended

    @property
    def bytes_claimed(self) -> int:
        """Bytes that clients hold or may send, at most the credit's total."""
        return self._ledger.claims

    @property
    def bytes_in_use(self) -> int:
        """Bytes received and not yet answered."""
        return self._ledger.in_service

    async def close(self, seconds: float) -> None:
        """Take no more, answer what is in service for at most `seconds`, then close."""
        self._draining = True
        self._socket.pause()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("closing with messages unanswered", extra={"messages": len(self._tasks)})
        for timer in (self._sweep_timer, self._room_again, self._top_up):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._cap.close()
        self._socket.close()

    # What comes in

    def _receive(self, frames: list[bytes]) -> None:
        match frames:
            case [peer, b"SEND", id, body] if len(id) == 8:
                self._send(peer, id, body)
            case [peer, b"HELLO", version]:
                self._hello(peer, version)
            case [peer, *_]:
                text = "a command is HELLO with a version, or SEND with an id of 8 bytes and NDJSON"
                self._refuse(peer, _NO_ID, problem.problem("unknown-command", "Not a command", 400, text))

    def _hello(self, peer: bytes, version: bytes) -> None:
        if version != VERSION:
            text = f"version {VERSION.decode()} is spoken here"
            self._refuse(peer, _NO_ID, problem.problem("version", "Not a version that is spoken", 400, text))
            return
        client = self._peers.get(peer)
        if client is None:
            client = self._ledger.join()
            if client is None:
                self._sweep()
                client = self._ledger.join()
            if client is None:
                text = f"{self._bounds.credit.clients} clients are served at once"
                self._refuse(peer, _NO_ID, problem.problem("busy", "Too many clients", 503, text, 1))
                return
            self._peers[peer] = client
        else:
            self._ledger.restart(client)
        self._ledger.grant(client)
        self._tell_credit(peer, client)

    def _send(self, peer: bytes, id: bytes, body: bytes) -> None:
        client = self._peers.get(peer)
        if client is None:
            self._refuse(peer, id, problem.problem("no-hello", "HELLO comes first", 428, "say HELLO, then send again"))
            return
        if not self._ledger.receive(client, len(body)):
            text = f"{len(body)} bytes sent, {client.allowance} allowed; nothing is entered, wait for CREDIT"
            self._refuse(peer, id, problem.problem("beyond-credit", "More than was granted", 429, text, 1))
            return
        try:
            split = split_lines(body, self._limits)
        except RecordError as error:
            self._settle(peer, client, id, len(body), problem.of_record(error))
            return
        if not split.keys:
            self._settle(peer, client, id, len(body), None)
            return
        self._start(self._accept(peer, client, id, len(body), split))

    # Towards the intake

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        self._idle.clear()
        if len(self._tasks) >= self._bounds.in_service:
            self._socket.pause()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()
        if not self._draining and len(self._tasks) == self._bounds.in_service - 1:
            self._socket.resume()

    async def _accept(self, peer: bytes, client: Client, id: bytes, size: int, split: Split) -> None:
        found: Problem | None = None
        try:
            await self._intake.accept(split)
        except Refused as refusal:
            found = problem.of_refusal(refusal)
            if isinstance(refusal, Full | Unavailable):
                self._withhold(refusal.retry_after)
        except Exception:
            log.exception("intake failed")
            found = problem.internal()
        if found is None:
            self.tally.accepted(len(split.keys), size)
        self._settle(peer, client, id, size, found)

    # What goes out

    def _settle(self, peer: bytes, client: Client, id: bytes, size: int, found: Problem | None) -> None:
        self._ledger.settle(client, size)
        if found is not None:
            self._refuse(peer, id, found)
        else:
            self._answer(peer, [peer, b"OK", id])
        if self._ledger.grant(client):
            self._tell_credit(peer, client)
        elif self._top_up is None:
            self._top_up = self._loop.call_later(_TOP_UP_SECONDS, self._grant_small)

    def _refuse(self, peer: bytes, id: bytes, found: Problem) -> None:
        self.tally.refused[found.status] += 1
        self._answer(peer, [peer, b"NO", id, found.encode()])

    def _tell_credit(self, peer: bytes, client: Client) -> None:
        self._answer(peer, [peer, b"CREDIT", client.granted.to_bytes(8, "big")])

    def _answer(self, peer: bytes, frames: list[bytes]) -> None:
        """A client that is gone, or does not read its answers, is forgotten; it comes back with HELLO."""
        if not self._socket.send(frames) and (client := self._peers.pop(peer, None)) is not None:
            self._ledger.leave(client)

    # Time

    def _withhold(self, seconds: float) -> None:
        self._ledger.withheld = True
        if self._room_again is not None:
            self._room_again.cancel()
        self._room_again = self._loop.call_later(seconds, self._grant_again)

    def _grant_again(self) -> None:
        self._room_again = None
        self._ledger.withheld = False
        self._grant_small()

    def _grant_small(self) -> None:
        self._top_up = None
        for peer, client in list(self._peers.items()):
            if self._ledger.grant(client, small=True):
                self._tell_credit(peer, client)

    def _sweep_and_again(self) -> None:
        self._sweep()
        self._sweep_timer = self._loop.call_later(self._bounds.sweep_seconds, self._sweep_and_again)

    def _sweep(self) -> None:
        """libzmq does not say that a ROUTER's peer left, but refuses to send to it: tell everyone what they know."""
        for peer, client in list(self._peers.items()):
            self._tell_credit(peer, client)
