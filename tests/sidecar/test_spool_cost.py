"""What the spool does costs the same whatever lies in it."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meterfabric_protocol.delivery.effects import CursorRow
from tests.spools import Rig, opened

FEW, MANY = 60, 1500
"""Batches in the backlog."""
LARGE = ("batches", "payloads", "recent")
"""The tables that grow with it."""


@dataclass
class Watched:
    """What SQLite was asked, and how many steps its machine took for it."""

    statements: set[str] = field(default_factory=set)
    steps: int = 0

    def step(self) -> int:
        self.steps += 1
        return 0


@asynccontextmanager
async def watching(rig: Rig) -> AsyncIterator[Watched]:
    watched = Watched()
    files = rig.spool._files

    def begin(db: sqlite3.Connection) -> None:
        db.set_trace_callback(watched.statements.add)
        db.set_progress_handler(watched.step, 1)

    def end(db: sqlite3.Connection) -> None:
        db.set_trace_callback(None)
        db.set_progress_handler(None, 0)

    # Each in the thread that uses the connection, for SQLite's lock and Python's are taken in that order there.
    await files.write(begin)
    await files.read(begin)
    yield watched
    await files.write(end)
    await files.read(end)


async def everyday(rig: Rig, first: int, middle: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """What a sidecar does all day, on a backlog that begins at `first`."""
    spool, origin = rig.spool, rig.origin
    number = iter(range(10_000_000, 20_000_000, 10))

    async def drop() -> None:
        spool.drop_to(origin, middle)
        spool.save_cursor(origin, "a", CursorRow(middle))
        await spool.flush()

    return {
        "commit": lambda: rig.fill(1, 10, next(number)),
        "fetch": lambda: spool.fetch(origin, middle, 1 << 20, 4),
        "boundary by age": lambda: spool.boundary_at(origin, first, spool.clock.now() - 1.0),
        "boundary by bytes": lambda: spool.boundary_after(origin, first, 10_000),
        "pending": lambda: spool.pending(origin, middle),
        "root": lambda: spool.root_at(origin, middle),
        "facts": spool.facts,
        "untold": spool.untold,
        "drop": drop,
    }


async def costs(folder: Path, batches: int) -> tuple[dict[str, int], set[str]]:
    async with opened(folder, dedup_records=20) as rig:
        sealed = await rig.fill(batches, 1)
        while rig.spool._upkeep:
            await rig.spool.flush()
        found: dict[str, int] = {}
        statements: set[str] = set()
        for name, work in (await everyday(rig, sealed[0].first, sealed[40].first)).items():
            await work()
            async with watching(rig) as watched:
                await work()
            found[name] = watched.steps
            statements |= watched.statements
        await rig.spool.flush()
    return found, statements


async def test_no_operation_does_more_work_on_a_larger_backlog(tmp_path: Path) -> None:
    few, statements = await costs(tmp_path / "few", FEW)
    many, _ = await costs(tmp_path / "many", MANY)
    for name, steps in many.items():
        # A bisection takes log2(1500 / 60), some 5 steps more.
        allowed = 2.5 if name.startswith("boundary") else 1.25
        assert steps <= few[name] * allowed + 50, f"{name}: {few[name]} steps with {FEW} batches, {steps} with {MANY}"
    scans = list(scans_of(tmp_path / "many" / "spool" / "spool.db", statements))
    assert scans == []


def scans_of(path: Path, statements: set[str]) -> list[str]:
    """Statements that walk a large table, or sort what they find in one."""
    found = []
    db = sqlite3.connect(path)
    asked = 0
    for statement in statements:
        if statement.split(maxsplit=1)[0] not in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            continue
        asked += 1
        plan = [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
        # An index that holds only what is damaged may be walked: that is what it is for.
        walks = [step for step in plan if step.startswith("SCAN") and step.split()[1] in LARGE and "untold" not in step]
        sorts = [step for step in plan if step.startswith("USE TEMP")]
        found += [f"{statement}: {step}" for step in walks + sorts]
    db.close()
    assert asked > 10
    return found
