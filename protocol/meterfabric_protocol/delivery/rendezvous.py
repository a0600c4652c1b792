"""Rendezvous (highest random weight) hashing: who serves a log, without a table anyone must agree on.

Every party that knows the same names ranks them alike; a name that comes or goes moves only its own share.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def weight(key: str, name: str) -> bytes:
    """Return the weight of ``name`` for ``key``: 8 bytes, compared as an unsigned number."""
    return blake2b(name.encode(), digest_size=8, key=blake2b(key.encode(), digest_size=32).digest()).digest()


def rank(key: str, names: Iterable[str]) -> list[str]:
    """Return ``names`` ordered by weight for ``key``, the best first."""
    return sorted(names, key=lambda name: (weight(key, name), name), reverse=True)


def best(key: str, names: Iterable[str]) -> str | None:
    """Return the best of ``names`` for ``key``, None where there is none."""
    return max(names, key=lambda name: (weight(key, name), name), default=None)
