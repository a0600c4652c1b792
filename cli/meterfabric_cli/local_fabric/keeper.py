"""Keeps one process running: starts it, starts it again with growing pauses when it ends, stops it when told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable

import msgspec

from meterfabric_cli.errors import CommandError
from meterfabric_cli.local_fabric.child import last_line, start_child
from meterfabric_cli.local_fabric.plan import ProcessPlan
from meterfabric_runtime.files import write_whole
from meterfabric_runtime.process import EXIT_SETTINGS
from meterfabric_runtime.ready import Ready, read_ready

_PAUSES = (0.2, 10.0)
_LONG_ENOUGH = 20.0
"""A process that ran so long starts anew with the shortest pause."""
_LOOK_EVERY = 0.05


class Keeper:
    """One process. `on_change` is called whenever it became ready or ended; `say` tells a person."""

    def __init__(self, plan: ProcessPlan, on_change: Callable[[], None], say: Callable[[str], None]) -> None:
        self.plan = plan
        self.ready: Ready | None = None
        """What it said when it became ready, None while it isn't."""
        self.address: Ready | None = None
        """What it said last, whether it still runs or not."""
        self.restarts = 0
        self.since = 0.0
        """When it was started, Unix seconds."""
        self._on_change = on_change
        self._say = say
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def label(self) -> str:
        """Its name for people: `sink billing worker-0`, `relay-1`."""
        plan = self.plan
        return f"sink {plan.folder.name} {plan.name}" if plan.component == "sink" else plan.name

    @property
    def pid(self) -> int:
        """Its process id, 0 while it doesn't run."""
        return self._child.pid if self._child is not None and self._child.returncode is None else 0

    async def run(self) -> None:
        """Keep it running until `stop`. Raises CommandError where it never can."""
        pause = _PAUSES[0]
        while True:
            begun = time.monotonic()
            try:
                code = await self._live()
            except OSError as error:
                # A full disk, or no more processes: it passes, or a person must see it.
                self._say(f"{self.label} can't be started: {error}")
                code = 0
            if self._is_stopping():
                return
            self.restarts += 1
            if code == EXIT_SETTINGS and self.address is None:
                raise CommandError(f"{self.label}: {last_line(self.plan.log)}")
            pause = _PAUSES[0] if time.monotonic() - begun > _LONG_ENOUGH else pause
            why = f": {told}" if code >= 0 and (told := last_line(self.plan.log)) else ""
            self._say(f"{self.label} {_ended(code)}, starting it again in {pause:g} s{why}")
            await asyncio.sleep(pause)
            if self._is_stopping():
                return
            pause = min(pause * 2, _PAUSES[1])

    async def stop(self) -> None:
        """Ask it to stop, wait for its grace, then kill it. `run` returns soon after."""
        self._stopping = True
        child = self._child
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.plan.grace):
                await child.wait()
        except TimeoutError:
            self._say(f"{self.label} didn't stop within {self.plan.grace:g} s: killed; the next start goes on")
            self.kill()
            await child.wait()

    def kill(self) -> None:
        """End it at once; what it accepted is durable."""
        self._stopping = True
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()

    def _is_stopping(self) -> bool:
        return self._stopping

    async def _live(self) -> int:
        """One life of the process; its exit code."""
        plan = self.plan
        plan.ready.unlink(missing_ok=True)
        write_whole(plan.config, msgspec.json.format(msgspec.json.encode(plan.settings)))
        self.since = time.time()
        self._child = child = await start_child(f"meterfabric_{plan.component}.main", plan.config, plan.log)
        looking = asyncio.create_task(self._look(child.pid))
        try:
            return await child.wait()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            self.ready = None
            self._on_change()

    async def _look(self, pid: int) -> None:
        while True:
            found = read_ready(self.plan.ready)
            if found is not None and found.pid == pid:
                self.ready = self.address = found
                self._on_change()
                return
            await asyncio.sleep(_LOOK_EVERY)


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    return f"was ended by {signal.Signals(-code).name}"
