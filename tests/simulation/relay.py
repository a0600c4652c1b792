"""A relay: the shell around `RelayCore`. An honest one; `liar.Liar` puts itself between this and the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.relay import RelayCore
from meterfabric_protocol.delivery.relayed import Effect, Send
from meterfabric_protocol.delivery.settings import RelaySettings
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.hello import Hello, verify_hello

from . import pki
from .kernel import Violation

if TYPE_CHECKING:
    from .world import World


class Relay:
    """One relay."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.kernel = world.kernel
        self.name = name
        self.boot = 0
        self.running = False
        self.core: RelayCore

    def start(self) -> None:
        """A process begins, with nothing."""
        self.boot += 1
        self.running = True
        settings = RelaySettings(name=self.name, **self.world.config.relay)
        self.core = RelayCore(settings, self._verify)
        self.world.network.servers[self.name] = self
        self.kernel.trace(self.name, "starts")
        self._tick()

    def crash(self) -> None:
        """The process is gone with all it held."""
        if not self.running:
            return
        self.kernel.trace(self.name, "crashes")
        self._stop()

    def drain(self) -> None:
        """SIGTERM."""
        if self.running and not self.core.draining:
            self.kernel.trace(self.name, "drains")
            self._do(self.core.drain())
            self._stop_when_idle(20)

    def _stop_when_idle(self, patience: int) -> None:
        if patience and (self.core.in_flight or self.core.producers):
            self.kernel.after(self, 0.1, lambda: self._stop_when_idle(patience - 1))
        else:
            self.kernel.after(self, 0.2, self._stop)

    def _stop(self) -> None:
        self.boot += 1
        self.running = False
        self.world.network.servers.pop(self.name, None)
        self.world.network.crashed(self.name)

    def arrived(self, user: str, message: m.Message, frames: m.Frames) -> None:
        """A message of a client, through the real codec."""
        try:
            message = m.decode(m.encode(message), len(frames))
        except Malformed:
            return
        self._do(self.core.received(user, message, frames, self.kernel.now))

    def gone(self, user: str) -> None:
        """A client's connection is no more."""
        if self.running:
            self._do(self.core.gone(user, self.kernel.now))

    def _tick(self) -> None:
        self._do(self.core.tick(self.kernel.now))
        self.kernel.after(self, 1.0, self._tick)

    def _verify(self, user: str, body: bytes, signature: bytes, chain: bytes) -> Hello:
        return verify_hello(
            body,
            signature,
            chain,
            client_curve=self.world.curve(user),
            relay_curve=self.world.curve(self.name),
            verifier=pki.verifier(),
            at=self.world.time(self.name),
            fabric=pki.FABRIC,
        )

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.send(effect.user, effect.message, effect.frames)
        self._check_memory()

    def send(self, user: str, message: m.Message, frames: m.Frames) -> None:
        """To a client."""
        self.world.network.to_client(self.name, user, message, frames)

    def _check_memory(self) -> None:
        held: dict[str, int] = {}
        for worker in self.core._workers.by_user.values():
            held[worker.sink] = held.get(worker.sink, 0) + worker.queue.bytes
            held[worker.sink] += sum(item.cost for item in worker.flight.values())
        total = 0
        for sink, (reserved, capacity) in self.core.reserved.items():
            total += reserved
            if not held.get(sink, 0) <= reserved <= capacity:
                raise Violation("relay-memory", f"{self.name}, {sink}: {held} held, {reserved} reserved, {capacity} is")
        if total > self.core.settings.memory:
            raise Violation("relay-memory", f"{self.name}: {total} of {self.core.settings.memory}")
