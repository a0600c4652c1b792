"""What each process of a fabric holds: at rest, and the most while records pass as fast as they go."""

from __future__ import annotations

import time

from bench import fabric, processes
from bench.report import say

MESSAGES = 1500
_REST_SECONDS = 2
_MIB = 2**20


def measure() -> None:
    """Print resident and proportional memory of each process, idle and loaded."""
    with fabric.running() as ours:
        time.sleep(_REST_SECONDS)
        roles = {pid: role for role, pids in ours.pids().items() for pid in pids}
        idle = {pid: processes.memory(pid) for pid in roles}
        with processes.peaks(list(roles), every=0.1) as loaded:
            sent = ours.send(MESSAGES, stream=5)
            ours.wait_until_delivered(sent.records)
    for pid, role in roles.items():
        for state, held in (("idle", idle[pid]), ("loaded", loaded[pid])):
            say(f"memory_{role}_{state}", held.rss / _MIB, "MiB", f"RSS; PSS {held.pss / _MIB:.1f}")
