"""The plan of a history: which fabric, and what is done to it when. All of it follows from the seed.

Swarm testing (A. Groce and others, "Swarm Testing", ISSTA 2012): each seed turns on a random few of the faults, since
all of them at once hide each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from random import Random

from . import faults, setup
from .network import CALM
from .world import Config, World

__all__ = ["Event", "Plan", "make"]


@dataclass(frozen=True)
class Event:
    """Something done to the fabric at a time."""

    number: int
    at: float
    name: str
    arguments: tuple[object, ...]
    action: Callable[[World], None]

    def happen(self, world: World) -> None:
        """Do it."""
        self.action(world)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True)
class Plan:
    """A fabric and its events in order of time; at ``end`` everything is healed."""

    config: Config
    events: tuple[Event, ...]
    end: float

    def keep(self, numbers: Collection[int]) -> Plan:
        """The same without the other events."""
        return replace(self, events=tuple(event for event in self.events if event.number in numbers))

    def calm(self) -> Plan:
        """The same on a good network."""
        return replace(self, config=replace(self.config, weather=CALM))


def make(seed: int, needs: Collection[str] = ()) -> Plan:
    """The plan of a seed, with the faults of these names among its own."""
    random = Random(f"plan/{seed}")
    config = setup.config(random)
    end = random.uniform(5.0, 40.0)
    entries = [*faults.work(random, config, end), *faults.choose(random, config, end, needs)]
    entries.sort(key=lambda entry: entry.at)
    events = tuple(
        Event(number, entry.at, entry.name, entry.arguments, entry.action) for number, entry in enumerate(entries)
    )
    return Plan(config, events, end)
