"""A sidecar's store under load, to be killed: says on standard output what was answered.

Run as a program: folder, first number, how many numbers to try at most. Prints "ready", then one number a line for
every submission that was answered.
"""

import asyncio
import os
import sys
from pathlib import Path

from meterfabric_protocol.delivery.effects import CursorRow
from meterfabric_sidecar.intake import IntakeSettings
from tests.spools import opened, records

EACH = 20
TEXT = "x" * 200
WINDOW = 4_000_000
"""Records: more than any run sends, so that what was dropped is still known by its key."""
QUOTA = 1 << 30


async def run(folder: Path, start: int, count: int) -> None:
    async with opened(folder, quota=QUOTA, dedup_records=WINDOW, intake=IntakeSettings(max_records=100)) as rig:
        print("ready", flush=True)
        numbers = iter(range(start, start + count))

        async def send() -> None:
            for number in numbers:
                await rig.intake.accept(records(range(number * EACH, (number + 1) * EACH), TEXT))
                # One write each, so that a kill never tears a line.
                os.write(1, b"%d\n" % number)
                if number % 7 == 0:
                    size = rig.sealed[-3].size if len(rig.sealed) > 3 else 0
                    rig.spool.drop_to(rig.origin, size // 2)
                    rig.spool.save_cursor(rig.origin, "a", CursorRow(size))

        await asyncio.gather(*(send() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
