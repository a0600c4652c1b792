"""Connections between clients (sidecars, workers) and relays, which drop, double, reorder, delay, break and part.

A client's CURVE key is its user id at the relay, as in the real transport. A connection that breaks is noticed by both
ends after a while, and what was on its way is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from meterfabric_protocol import message as m

from .kernel import Kernel


@dataclass(frozen=True)
class Weather:
    """How bad the network is. Probabilities a message; seconds."""

    drop: float = 0.0
    double: float = 0.0
    jitter: float = 0.0
    """Longest extra delay; above zero messages overtake each other."""
    latency: float = 0.002


CALM = Weather()


class Client(Protocol):
    """A sidecar or a worker, as the network sees it."""

    name: str
    boot: int
    tolerant: bool

    def arrived(self, relay: str, message: m.Message, frames: m.Frames) -> None:
        """A message of a relay."""

    def broken(self, relay: str) -> None:
        """The connection is no more."""


class Server(Protocol):
    """A relay, as the network sees it."""

    name: str
    boot: int

    def arrived(self, user: str, message: m.Message, frames: m.Frames) -> None:
        """A message of a client."""

    def gone(self, user: str) -> None:
        """The client's connection is no more."""


@dataclass
class _Connection:
    client: Client
    server: Server
    client_boot: int
    server_boot: int
    random: Random
    tolerant: bool
    """A message may be lost and the connection live on: more than the transport does, and sidecars bear it."""
    open: bool = True
    busy_until: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})


class Network:
    """All connections, by (client, relay)."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.weather = CALM
        self.servers: dict[str, Server] = {}
        self.parted: set[tuple[str, str]] = set()
        self.sent = 0
        self._connections: dict[tuple[str, str], _Connection] = {}
        self._opened = 0

    def connect(self, client: Client, relay: str) -> bool:
        """Connect, in place of whatever connection there was; False where nobody answers."""
        self._close(client.name, relay)
        server = self.servers.get(relay)
        if server is None or (client.name, relay) in self.parted:
            return False
        self._opened += 1
        stream = self.kernel.stream("connection", client.name, relay, self._opened)
        connection = _Connection(client, server, client.boot, server.boot, stream, client.tolerant)
        self._connections[client.name, relay] = connection
        return True

    def to_relay(self, client: str, relay: str, message: m.Message, frames: m.Frames = ()) -> None:
        """A client sends."""
        connection = self._connections.get((client, relay))
        if connection is not None:
            self._send(connection, True, lambda: connection.server.arrived(client, message, frames), message)

    def to_client(self, relay: str, user: str, message: m.Message, frames: m.Frames = ()) -> None:
        """A relay sends."""
        connection = self._connections.get((user, relay))
        if connection is not None:
            self._send(connection, False, lambda: connection.client.arrived(relay, message, frames), message)

    def hang_up(self, client: str, relay: str) -> None:
        """A client closes; what it sent before may still arrive, so this is noticed last."""
        connection = self._connections.get((client, relay))
        if connection is not None:
            self._send(connection, True, lambda: self._break(connection, tell_client=False), None)

    def cut(self, client: str, relay: str) -> None:
        """The connection breaks."""
        connection = self._connections.get((client, relay))
        if connection is not None:
            self._break(connection)

    def crashed(self, name: str) -> None:
        """A process is gone: all its connections break."""
        for (client, relay), connection in list(self._connections.items()):
            if name in (client, relay):
                self._break(connection, tell_client=name != client, tell_server=name != relay)

    def part(self, client: str, relay: str) -> None:
        """Client and relay can't reach each other until `join`."""
        self.parted.add((client, relay))
        self.cut(client, relay)

    def join(self) -> None:
        """Every partition ends."""
        self.parted.clear()

    def _close(self, client: str, relay: str) -> None:
        connection = self._connections.get((client, relay))
        if connection is not None:
            self._break(connection, tell_client=False)

    def _break(self, connection: _Connection, *, tell_client: bool = True, tell_server: bool = True) -> None:
        if not connection.open:
            return
        connection.open = False
        client, server = connection.client, connection.server
        self._connections.pop((client.name, server.name), None)
        if tell_client and client.boot == connection.client_boot:
            self.kernel.after(client, connection.random.uniform(0.001, 0.2), lambda: self._lost(connection))
        if tell_server and server.boot == connection.server_boot:
            # At once: a relay that still held the session would take the next connection's HELLO for this one's.
            server.gone(client.name)

    def _lost(self, connection: _Connection) -> None:
        key = connection.client.name, connection.server.name
        if key not in self._connections:
            connection.client.broken(connection.server.name)

    def _send(
        self, connection: _Connection, upward: bool, deliver: Callable[[], None], message: m.Message | None
    ) -> None:
        weather, random = self.weather, connection.random
        self.sent += 1
        copies = 1
        if weather.drop and random.random() < weather.drop:
            copies = 0
            if not connection.tolerant:
                # What TCP loses it loses with the connection.
                self.kernel.at(random.uniform(0.0, 3.0), lambda: self._break(connection))
        elif message is not None and weather.double and random.random() < weather.double:
            copies = 2
        for _ in range(copies):
            delay = weather.latency
            if weather.jitter:
                delay += random.random() ** 3 * weather.jitter
            else:
                # In order, as one stream is.
                due = max(self.kernel.now + delay, connection.busy_until[upward])
                connection.busy_until[upward] = due
                delay = due - self.kernel.now
            self.kernel.at(delay, lambda: self._arrive(connection, deliver))

    def _arrive(self, connection: _Connection, deliver: Callable[[], None]) -> None:
        if (
            connection.open
            and connection.client.boot == connection.client_boot
            and connection.server.boot == connection.server_boot
        ):
            deliver()
