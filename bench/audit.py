"""What it costs to check afterwards: to audit a log, to prove one record and to verify the proof, by the log's size.

One log grows from 10³ to 10⁷ records in a `file` sink; at each size the commands that an auditor has are timed, their
start included, and their memory is taken at its peak.
"""

from __future__ import annotations

import json
import random
import shutil
from functools import partial

from bench import fabric
from bench.events import Events
from bench.report import number, progress, say

SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)
PER_MESSAGE = 1000
STREAM = 6


def measure() -> None:
    """Print the seconds and the memory that audit, prove and verify take at each size."""
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
            for name, call in (
                ("audit", ours.audit),
                ("prove", partial(ours.prove, source, event, out)),
                ("verify", partial(ours.verify, out)),
            ):
                used = call()
                say(f"{name}_{size}", used.seconds, "s", f"peak {number(used.peak)} MiB")
            shutil.rmtree(out)


def _one(events: Events, index: int) -> tuple[str, str]:
    """Source and id of the record sent as number `index`."""
    message, line = divmod(index, PER_MESSAGE)
    event = json.loads(events.message(message).splitlines()[line])
    return event["source"], event["id"]
