"""Usage as CloudEvents: one per user and interval."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from machine_meter.proc import Scan, Units
from machine_meter.usage import Usage

TYPE = "io.meterfabric.example.process.usage"


@dataclass(frozen=True, slots=True)
class Event:
    """The attributes of one CloudEvent (CloudEvents 1.0, section 3) that differ between users and intervals."""

    id: str
    subject: str
    time: datetime
    data: dict[str, Any]
    type: str = TYPE


def user_name(uid: int) -> str:
    """The user's name, or `uid:N` for a user that this machine has no name for (one inside a container)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


def events(before: Scan, after: Scan, users: dict[int, Usage], units: Units) -> Iterator[Event]:
    """One event for each user.

    The id is made of the interval and the user, so that sending an event again is recognised as the same event.
    """
    start, end = (datetime.fromtimestamp(scan.wall, UTC) for scan in (before, after))
    for uid, usage in sorted(users.items()):
        yield Event(
            id=f"{start.timestamp():.6f}-{end.timestamp():.6f}-{uid}",
            subject=user_name(uid),
            time=end,
            data={
                "cpu_seconds": usage.cpu_ticks / units.ticks_per_second,
                "memory_byte_seconds": round(usage.memory_byte_seconds),
                "interval_start": start.isoformat(),
                "interval_end": end.isoformat(),
                "processes": usage.processes,
            },
        )
