"""Who isn't ready is told once, and once when it is again: a sink that can't write must not look like a slow one."""

from __future__ import annotations

from collections.abc import Callable

from meterfabric_cli.pages import READY

_LOOKS = 3
"""A process that starts, or follows another's start, isn't ready for a moment; that is told to nobody."""


class Readiness:
    """Watches what processes say of themselves, look by look. `say` tells a person."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._seen: dict[str, tuple[str, int]] = {}
        self._told: dict[str, str] = {}

    def look(self, label: str, health: str) -> None:
        """What the process of this name says just now (`pages.health`)."""
        before, looks = self._seen.get(label, ("", 0))
        looks = looks + 1 if health == before else 1
        self._seen[label] = (health, looks)
        if health == READY:
            if self._told.pop(label, None) is not None:
                self._say(f"{label} is ready again")
        elif looks >= _LOOKS and self._told.get(label) != health:
            self._told[label] = health
            self._say(f"{label} isn't ready: {health}")
