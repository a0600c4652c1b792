"""What goes wrong when: drawn from a seed, so that a run that found something can be had again.

Every kind comes round, in an order that is drawn anew each time, as long as there is time. Two may be under way at
once, but for what is `alone`: a relay's death, after which is measured, and a drain, by which pods lose their disks, so
that their sidecars must find a way to deliver what is left.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`lasts`: seconds from doing to undoing, from and to; 0 where there is nothing to undo. `often`: times a round."""

    lasts: tuple[float, float] = (0.0, 0.0)
    often: int = 1
    alone: bool = False


@dataclass(frozen=True)
class Planned:
    """One fault: `at` and `until` in seconds from the start. `seed`: who of several is hit."""

    kind: str
    at: float
    until: float
    seed: int


GAP = (4.0, 16.0)
"""Seconds from one beginning to the next."""
CLEAR = 12.0
"""Seconds without anything else before and after what is alone."""
TOGETHER = 2


def draw(seed: int, seconds: float, kinds: Mapping[str, Kind]) -> list[Planned]:
    """The faults of so many seconds, by their beginnings; all of them end within that time."""
    chance = random.Random(seed)
    made: list[Planned] = []
    now = chance.uniform(*GAP)
    while True:
        deck = [name for name, kind in sorted(kinds.items()) for _ in range(kind.often)]
        chance.shuffle(deck)
        for name in deck:
            kind = kinds[name]
            lasts = chance.uniform(*kind.lasts)
            now = _free(made, kinds, kind, now)
            if now + lasts > seconds:
                return made
            made.append(Planned(name, round(now, 1), round(now + lasts, 1), chance.randrange(1 << 32)))
            now += chance.uniform(*GAP)


def _free(made: list[Planned], kinds: Mapping[str, Kind], kind: Kind, now: float) -> float:
    """The first moment from `now` on at which it may begin."""
    for each in made:
        if kind.alone or kinds[each.kind].alone:
            now = max(now, each.until + CLEAR)
    while len(under_way := [each.until for each in made if each.until > now]) >= TOGETHER:
        now = min(under_way)
    return now
