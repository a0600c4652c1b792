"""What it costs to check afterwards: to audit a log, to prove one record and to verify the proof, by the log's size.

One log grows from 10³ to 10⁷ records in a `file` sink; at each size the commands that an auditor has are timed, their
start included.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from typing import ParamSpec

from bench import fabric
from bench.events import Events
from bench.report import progress, say

SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)
PER_MESSAGE = 1000
P = ParamSpec("P")
STREAM = 6


def measure() -> None:
    """Print the seconds that audit, prove and verify take at each size."""
    draw = random.Random(STREAM)
    events = Events(PER_MESSAGE, 300, STREAM)
    held = 0
    with fabric.running() as ours:
        out = ours.folder / "proof"
        for size in SIZES:
            progress(f"growing the log to {size:,} records")
            ours.send((size - held) // PER_MESSAGE, first=held // PER_MESSAGE, stream=STREAM)
            held = size
            ours.wait_until_delivered(held)
            source, event = _one(events, draw.randrange(size))
            audited, proved, verified = (
                _timed(ours.audit),
                _timed(ours.prove, source, event, out),
                _timed(ours.verify, out),
            )
            say(f"audit_{size}", audited, "s")
            say(f"prove_{size}", proved, "s")
            say(f"verify_{size}", verified, "s")
            shutil.rmtree(out)


def _timed(call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> float:
    begun = time.perf_counter()
    call(*args, **kwargs)
    return time.perf_counter() - begun


def _one(events: Events, index: int) -> tuple[str, str]:
    """Source and id of the record sent as number `index`."""
    message, line = divmod(index, PER_MESSAGE)
    event = json.loads(events.message(message).splitlines()[line])
    return event["source"], event["id"]
