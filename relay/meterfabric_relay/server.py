"""The relay's socket: what arrives goes to the core, what the core decides is sent.

Records' frames pass as they came: they are never copied nor looked into here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import zmq

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.relay import RelayCore
from meterfabric_protocol.delivery.relayed import Effect, End
from meterfabric_protocol.errors import Malformed
from meterfabric_runtime.zmq_loop import LoopSocket, Offer, user_id
from meterfabric_runtime.zmq_monitor import Change, PeerEvent

log = logging.getLogger(__name__)

_AGAIN = 1.0
"""Seconds after which those that are still here are told again: their queue may have been full."""


class RelayServer:
    """Drives a `RelayCore` from a ROUTER socket."""

    def __init__(self, core: RelayCore, socket: zmq.Socket[bytes], clock: Callable[[], float] = time.monotonic) -> None:
        """``socket``: a bound ROUTER with CURVE, MANDATORY, and a ZAP handler that sets User-Id."""
        self.core = core
        self._clock = clock
        self._routes: dict[str, bytes] = {}
        self._suspect = False
        self.socket = LoopSocket(socket, on_frames=self._on_frames)

    def close(self) -> None:
        """Stop; what was sent is flushed for the socket's LINGER."""
        self.socket.close()

    def on_event(self, event: PeerEvent) -> None:
        """A connection changed: a broken one may be a worker's, whose batches must not wait."""
        if event.change is Change.DISCONNECTED:
            self._suspect = True

    def tick(self) -> None:
        """Call a few times a second."""
        if self._suspect:
            self._suspect = False
            self._probe(self.core.worker_users)
        self._carry_out(self.core.tick(self._clock()))

    def sweep(self) -> None:
        """Call every few seconds: find producers that went away, so that their credit is free."""
        self._probe(tuple(self._routes))

    async def drain(self, patience: float) -> None:
        """Tell every peer to go elsewhere, and go on, `patience` seconds at most, until every producer has gone: one
        that is still here may have sent what hasn't arrived yet."""
        self._carry_out(self.core.drain())
        begun = told = self._clock()
        while (self.core.in_flight or self.core.producers) and (now := self._clock()) < begun + patience:
            if now - told >= _AGAIN:
                told = now
                self._carry_out(self.core.drain())
            await asyncio.sleep(0.02)

    def _probe(self, users: tuple[str, ...]) -> None:
        envelope = m.encode(m.Ping())
        for user in users:
            route = self._routes.get(user)
            if route is not None and self.socket.offer([route, envelope]) is Offer.GONE:
                self._carry_out(self.core.gone(user, self._clock()))

    def _on_frames(self, frames: list[zmq.Frame]) -> None:
        if len(frames) < 2:
            return
        route = frames[0].bytes
        user = user_id(frames[1])
        if user is None:
            return
        rest = frames[2:]
        try:
            message = m.decode(frames[1].buffer, len(rest))
        except Malformed as error:
            self._refuse(route, "malformed", str(error))
            return
        if self._routes.get(user) != route:
            if user in self._routes and not isinstance(message, m.Hello):
                # Another connection of the same key: it has no session before its own HELLO.
                self._refuse(route, "no-session", "HELLO comes first")
                return
            self._routes[user] = route
        self._carry_out(self.core.received(user, message, rest, self._clock()))

    def _refuse(self, route: bytes, reason: str, detail: str) -> None:
        self.core.refused[reason] += 1
        self.socket.offer([route, m.encode(m.Refused(reason, detail))])

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, End):
                self._routes.pop(effect.user, None)
                continue
            route = self._routes.get(effect.user)
            if route is None:
                continue
            offer = self.socket.offer([route, m.encode(effect.message), *effect.frames])
            if offer is Offer.SENT:
                continue
            if isinstance(effect.message, m.Deliver | m.Listen) or offer is Offer.GONE:
                # A worker that misses one message would leave its sender without an answer for ever.
                log.info("peer lost", extra={"user": effect.user[:16], "offer": offer.value})
                self._carry_out(self.core.gone(effect.user, self._clock()))
