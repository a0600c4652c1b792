"""How new what is known of each object is, since it comes by more than one way: watches, lists, our own writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from meterfabric_operator.objects import Key


class Versions:
    """Resource versions of objects, compared as numbers, as the API allows (KEP-5504)."""

    def __init__(self) -> None:
        self._of: dict[str, dict[Key, int]] = defaultdict(dict)
        self._listed: dict[tuple[str, str], int] = defaultdict(int)

    def advance(self, key: Key, body: Mapping[str, Any], *, gone: bool = False) -> bool:
        """Whether an object's state is newer than what is known of it; then it is what is known.

        Of what is gone the version stays until the next list, and what a list didn't have is older than it, lest an
        event that comes late brings it back.
        """
        version, known = int(body["metadata"]["resourceVersion"]), self._of[key.kind]
        listed = max(self._listed[key.kind, ""], self._listed[key.kind, key.namespace])
        if version < known.get(key, listed + 1) or (version == known.get(key) and not gone):
            return False
        known[key] = version
        return True

    def missing(self, kind: str, namespace: str, there: Collection[Key], version: int) -> list[Key]:
        """What was known when a list of that version was made and isn't `there`; nothing is known of it afterwards."""
        known = self._of[kind]
        self._listed[kind, namespace] = version
        gone = [
            key
            for key, held in known.items()
            if held <= version and key not in there and namespace in ("", key.namespace)
        ]
        for key in gone:
            del known[key]
        return gone
