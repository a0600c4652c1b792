"""kill -9 at random moments under load: whatever was answered is there, nothing is there twice, every log verifies."""

import asyncio
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from meterfabric_protocol import batch as batches
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from tests.sidecar.spool_victim import EACH, QUOTA, TEXT, WINDOW
from tests.spools import everything, leaves_of, only_records, opened, record

KILLS = 25


async def run_and_kill(folder: Path, start: int, pause: float) -> list[int]:
    """Let a victim run and kill it; returns what it said was answered."""
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.sidecar.spool_victim",
        str(folder),
        str(start),
        "100000",
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert victim.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await victim.stdout.readline() == b"ready\n"
        await asyncio.sleep(pause)
    finally:
        victim.send_signal(signal.SIGKILL)
    said = (await victim.stdout.read()).split()
    await victim.wait()
    return [int(number) for number in said]


async def held(folder: Path) -> dict[bytes, int]:
    """Every record in the spool with how often it is there; each log is verified, stubs and all."""
    counts: dict[bytes, int] = {}
    async with opened(folder, quota=QUOTA, dedup_records=WINDOW) as rig:
        for log in await rig.spool.logs():
            frontier = CompactRange.empty()
            for batch in await everything(rig.spool, log.origin):
                found = leaves_of(batch)
                header = batches.decode_header(batch.header)
                frontier = batches.verify(header, leaf_hashes(found), frontier, log.public_key)
                for leaf in only_records(found):
                    counts[leaf] = counts.get(leaf, 0) + 1
            assert frontier == log.frontier
        # A record that was dropped is known all the same: the window says what was accepted.
        for row in await rig.spool.recent_after(0, 1_000_000):
            for key in row.keys:
                number = int(key.partition("\x1f")[2])
                counts.setdefault(record(number, TEXT), 1)
    return counts


@pytest.mark.fault
async def test_a_kill_loses_nothing_that_was_answered_and_doubles_nothing(tmp_path: Path) -> None:
    dice = random.Random(3)
    answered: set[int] = set()
    start = 0
    for _ in range(KILLS):
        said = await run_and_kill(tmp_path, start, dice.uniform(0.0, 0.4))
        answered.update(said)
        # What the kill cut off is sent again, as a client would that had no answer.
        start = max(0, max(said, default=start) - 20)
    counts = await held(tmp_path)
    assert set(counts.values()) == {1}
    wanted = {record(number * EACH + n, TEXT) for number in answered for n in range(EACH)}
    assert wanted <= counts.keys()
    assert len(answered) > KILLS
    shutil.rmtree(tmp_path)
