"""What a relay holds of a message on its way, and what it does, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from meterfabric_protocol import message as m


@dataclass(frozen=True)
class Send:
    """Effect: send to the peer of this user."""

    user: str
    message: m.Message
    frames: m.Frames = ()


@dataclass(frozen=True)
class End:
    """Effect: the session of this user is over; forget its route."""

    user: str


Effect: TypeAlias = Send | End


@dataclass
class Producer:
    """A producer's session."""

    session: str
    """The user and a serial: a message of an earlier session of the same user must not touch this one's credit."""
    user: str
    nonce: bytes
    granted_at: dict[str, float] = field(default_factory=dict)
    """By sink, when credit was granted or used last."""
    routes: dict[tuple[str, str], str] = field(default_factory=dict)
    """By sink and log, the user of the worker that was chosen; `workers.Workers` keeps it."""
    routes_of: int = -1
    """Of which set of workers they were chosen."""


@dataclass
class Item:
    """One message for one sink: a batch, which costs memory until it is answered, or a `head`, which costs none."""

    sender: Producer
    origin: str
    sink: str
    epoch: int
    frames: m.Frames
    cost: int = 0
    head: bool = False
    probe: bool = False

    @property
    def wants_answer(self) -> bool:
        """Whether its producer waits to hear of it."""
        return self.probe or not self.head
