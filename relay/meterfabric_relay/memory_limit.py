"""How many connections fit into the memory that this process may use: its cgroups' limit, version 1 or 2.

A connection's memory is nearly all libzmq's (queues and buffers) and there from its handshake on, whether it is used or
not. One too many would end all of them: the kernel kills who is above the limit, and the producers that come back in a
crowd bring the next relay there. Refused, they ask again and are with another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from meterfabric_relay import cgroup

CONNECTION: Final = 52 << 10
"""Bytes of one (`make bench BENCH=scale`: `producer_memory`)."""
BESIDE: Final = 72 << 20
"""Bytes that a relay needs beside its connections and records."""
FEWEST: Final = 256
"""Connections that are let in whatever the limit: less would be no relay."""
_ONE: Final = ("memory.limit_in_bytes",)
_TWO: Final = ("memory.max",)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes, the least of the limits of our cgroup and those above it that we see; None without one.

    ``root``: where `proc` and `sys` are.
    """
    words = [cgroup.text(path).strip() for paths in cgroup.files(root, "memory", _ONE, _TWO) for path in paths]
    return min((int(word) for word in words if word.isascii() and word.isdigit()), default=None)


def connections_in(limit: int | None, records: int) -> int:
    """How many fit beside ``records`` bytes of records; without a limit, as many as anybody asks for."""
    if limit is None:
        return 1 << 62
    return max(FEWEST, (limit - BESIDE - records) // CONNECTION)
