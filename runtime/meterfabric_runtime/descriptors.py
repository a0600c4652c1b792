"""File descriptors: a process that holds many connections asks for as many as it may have, and takes no more."""

import resource
from typing import Final

BESIDE: Final = 256
"""Descriptors that a process needs for other things than its connections."""


def room_for(connections: int, waiting: int) -> int:
    """How many connections may stand, at most `connections`, when `waiting` more may be at their handshake.

    Raises the process's soft limit towards its hard one first. At least 1.
    """
    wanted = connections + waiting + BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - waiting - BESIDE))
