import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from meterfabric_runtime import process
from meterfabric_runtime.process import Stop


async def test_a_stop_counts_down_from_the_request() -> None:
    now = 100.0
    stop = Stop(30.0, clock=lambda: now)
    assert not stop.requested
    assert stop.remaining() == 30.0
    stop.request("SIGTERM")
    now = 112.0
    stop.request("again")
    assert (stop.requested, stop.reason, stop.remaining()) == (True, "SIGTERM", 18.0)
    now = 200.0
    assert stop.remaining() == 0.0
    await stop.wait()


async def test_main_is_told_of_the_signal_and_ends_cleanly() -> None:
    reasons: list[str] = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        reasons.append(stop.reason)

    assert await process.supervise(main, grace=5.0) == process.EXIT_CLEAN
    assert reasons == ["SIGTERM"]


async def test_main_that_returns_by_itself_is_clean() -> None:
    async def main(stop: Stop) -> None:
        await asyncio.sleep(0)

    assert await process.supervise(main, grace=5.0) == process.EXIT_CLEAN


async def test_main_that_raises_fails_with_its_reason_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main(stop: Stop) -> None:
        raise OSError("spool is locked")

    assert await process.supervise(main, grace=5.0) == process.EXIT_FAILED
    assert "spool is locked" in caplog.text


async def test_main_that_drains_too_long_is_cancelled_but_may_clean_up() -> None:
    cleaned = False

    async def main(stop: Stop) -> None:
        nonlocal cleaned
        stop.request("test")
        try:
            await asyncio.Event().wait()
        finally:
            cleaned = True

    assert await process.supervise(main, grace=0.01) == process.EXIT_OVERDUE
    assert cleaned


async def test_a_second_signal_cuts_the_drain_short() -> None:
    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        assert await process.supervise(main, grace=3600.0) == process.EXIT_OVERDUE


def test_a_real_process_logs_json_and_leaves_with_its_code() -> None:
    program = textwrap.dedent("""
        import asyncio, logging, uvloop
        from meterfabric_runtime import logs, process

        async def main(stop):
            assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
            process.started()
            logging.getLogger("test").info("listening", extra={"port": 8280})
            print("up", flush=True)
            await stop.wait()

        logs.configure("sidecar")
        process.run_and_exit(main, grace=5)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "up\n"
        child.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in child.stderr.read().splitlines()]
        assert child.wait(10) == process.EXIT_CLEAN
    assert [line["message"] for line in lines] == ["listening", "stopping", "stopped"]
    assert (lines[0]["port"], lines[0]["component"], lines[0]["level"]) == (8280, "sidecar", "info")


def test_started_freezes_what_lives() -> None:
    threshold = gc.get_threshold()
    try:
        process.started()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)


async def test_signals_that_a_library_took_can_be_taken_back() -> None:
    taken: list[str] = []

    async def main(stop: Stop) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, taken.append, "library")
        stop.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()

    assert await process.supervise(main, grace=5.0) == process.EXIT_CLEAN
    assert not taken
