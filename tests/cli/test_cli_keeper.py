"""Keeping a process: ready when it says so, started again when it ends, an error where it never can run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from meterfabric_cli.errors import CommandError
from meterfabric_cli.local_fabric.child import last_line
from meterfabric_cli.local_fabric.keeper import Keeper
from meterfabric_cli.local_fabric.plan import ProcessPlan
from meterfabric_runtime.curve import CurveKeys
from tests.pki import Authority

pytestmark = pytest.mark.integration


def relay(folder: Path, **settings: Any) -> ProcessPlan:
    """A relay, the one component that needs nobody else."""
    trust, curve = folder / "trust.pem", folder / "curve"
    trust.write_bytes(Authority().pem)
    CurveKeys.load_or_create(curve)
    known = {"fabric": "a.b", "name": "relay-0", "trust": str(trust), "curve": str(curve), "drain": 5.0}
    ready = {"ready_file": str(folder / "relay-0.ready")}
    return ProcessPlan("relay-0", "relay", folder, known | ready | settings, 20.0)


async def until(keeper: Keeper, pid: int = 0) -> int:
    """Wait until it is ready under another process id than `pid`."""
    async with asyncio.timeout(30):
        while keeper.ready is None or keeper.pid == pid:
            await asyncio.sleep(0.02)
    return keeper.pid


async def test_a_process_that_ends_is_started_again_until_it_is_told_to_stop(tmp_path: Path) -> None:
    said: list[str] = []
    changes: list[bool] = []
    keeper = Keeper(relay(tmp_path), lambda: changes.append(keeper.ready is not None), said.append)
    running = asyncio.create_task(keeper.run())
    first = await until(keeper)
    assert keeper.ready is not None
    assert keeper.ready.pid == first
    address = keeper.address
    assert keeper._child is not None
    keeper._child.kill()
    await until(keeper, first)
    assert (keeper.restarts, keeper.address == address) == (1, False)
    assert said == ["relay-0 was ended by SIGKILL, starting it again in 0.2 s"]
    await keeper.stop()
    await running
    assert (keeper.pid, keeper.ready) == (0, None)
    assert changes == [True, False, True, False]
    assert '"message":"stopped"' in last_line(tmp_path / "relay-0.log")


async def test_settings_that_no_component_takes_end_everything(tmp_path: Path) -> None:
    keeper = Keeper(relay(tmp_path, memory="much"), lambda: None, lambda text: None)
    with pytest.raises(CommandError, match=r"relay-0: .*memory"):
        await keeper.run()


async def test_a_process_that_fails_is_tried_again_with_growing_pauses(tmp_path: Path) -> None:
    said: list[str] = []
    plan = relay(tmp_path)
    (tmp_path / "trust.pem").write_bytes(b"no bundle")
    keeper = Keeper(plan, lambda: None, said.append)
    running = asyncio.create_task(keeper.run())
    async with asyncio.timeout(30):
        while len(said) < 2:
            await asyncio.sleep(0.02)
    await keeper.stop()
    await running
    assert said[0].startswith("relay-0 ended with code 1, starting it again in 0.2 s: ")
    assert "trust bundle" in said[0]
    assert "in 0.4 s" in said[1]


async def test_stopping_what_never_started_is_nothing(tmp_path: Path) -> None:
    keeper = Keeper(relay(tmp_path), lambda: None, lambda text: None)
    await keeper.stop()
    assert keeper.pid == 0


def test_the_last_line_of_a_log_is_shown_and_none_of_no_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"x" * 10_000 + b"\nthe end\n\n")
    assert last_line(log) == "the end"
