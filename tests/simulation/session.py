"""What holds a client's sessions: connect, say HELLO, and begin anew where no welcome comes or a connection breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from meterfabric_protocol import message as m

from .network import Client

if TYPE_CHECKING:
    from .world import World


class Owner(Client, Protocol):
    """A sidecar or a worker."""

    def hello(self, relay: str) -> tuple[bytes, bytes, bytes] | None:
        """The frames of a HELLO to this relay; None where there is no certificate yet."""

    def lost(self, relay: str) -> None:
        """The session is over."""


class Sessions:
    """The sessions of one process, by relay."""

    def __init__(self, world: World, owner: Owner) -> None:
        self._world = world
        self._kernel = world.kernel
        self._owner = owner
        self._random = world.kernel.stream("sessions", owner.name, owner.boot)
        self._attempts: dict[str, int] = {}
        self._welcomed: set[str] = set()
        self._count = 0

    @property
    def held(self) -> list[str]:
        """The relays that sessions are held with, up or not."""
        return list(self._attempts)

    def hold(self, relay: str) -> None:
        """Have a session with this relay from now on."""
        self._attempts.setdefault(relay, 0)
        self._connect(relay)

    def release(self, relay: str) -> None:
        """Have none any more."""
        if self._attempts.pop(relay, None) is not None:
            self._world.network.to_relay(self._owner.name, relay, m.Bye())
            self._world.network.hang_up(self._owner.name, relay)

    def renew(self) -> None:
        """Say HELLO everywhere anew: the key is another."""
        for relay in self.held:
            self.broke(relay)

    def takes(self, relay: str, message: m.Message) -> bool:
        """Whether a message is for a session that is held; notices a welcome."""
        if relay not in self._attempts:
            return False
        if isinstance(message, m.Welcome):
            self._welcomed.add(relay)
        if isinstance(message, m.Refused):
            self._again(relay)
        return True

    def broke(self, relay: str) -> None:
        """The connection is no more."""
        if relay in self._attempts:
            self._owner.lost(relay)
            self._again(relay)

    def _again(self, relay: str) -> None:
        self._welcomed.discard(relay)
        self._after(relay, self._random.uniform(0.1, 0.6), self._connect)

    def _after(self, relay: str, delay: float, action: Callable[[str], None]) -> None:
        self._count += 1
        number = self._attempts[relay] = self._count

        def due() -> None:
            if self._attempts.get(relay) == number:
                action(relay)

        self._kernel.after(self._owner, delay, due)

    def _connect(self, relay: str) -> None:
        self._welcomed.discard(relay)
        frames = self._owner.hello(relay)
        if frames is not None and self._world.network.connect(self._owner, relay):
            self._world.network.to_relay(self._owner.name, relay, m.Hello(), frames)
        self._after(relay, self._random.uniform(1.0, 2.0), self._check)

    def _check(self, relay: str) -> None:
        if relay not in self._welcomed:
            self._owner.lost(relay)
            self._connect(relay)
