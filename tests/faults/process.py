"""One component as a real process: started, killed, frozen and thawed by its own pid."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from meterfabric_runtime.ready import Ready, read_ready

T = TypeVar("T")

_TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 60.0
"""Seconds after which a condition counts as never to come: far beyond what a busy machine takes."""


def wait_until(condition: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """Look until the condition holds and return what it gave; AssertionError names `what` when it never does."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.02)  # between two looks at the condition
    return found


class Process:
    """A component's process; `settings` go into its file at every start, so that they may be changed in between."""

    def __init__(self, folder: Path, name: str, module: str, settings: dict[str, Any]) -> None:
        self.name = name
        self.settings = settings
        self.environment: dict[str, str] = {}
        """Set beside what this process has itself."""
        self.launcher = ["-m"]
        """What stands before the module on Python's command line."""
        self.kills = 0
        self._module = module
        self._config = folder / f"{name}.json"
        self._log = folder / f"{name}.log"
        self._ready = folder / f"{name}.ready"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._popen is not None, f"{self.name} isn't running"
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs (or is frozen)."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def log(self) -> str:
        """All that it ever wrote to stderr."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it; `ready` waits for it."""
        assert not self.alive
        self._ready.unlink(missing_ok=True)
        self._config.write_text(json.dumps({**self.settings, "ready_file": str(self._ready)}))
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, *self.launcher, self._module, "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def ready(self) -> Ready:
        """Wait until it listens, and where."""

        def look() -> Ready | None:
            assert self.alive, f"{self.name} ended with {self._popen and self._popen.returncode}: {self.log[-4000:]}"
            return read_ready(self._ready)

        return wait_until(look, f"{self.name} listens")

    def kill(self) -> None:
        """SIGKILL, and wait for its end. What is dead already isn't counted."""
        if self.alive and self._popen is not None:
            self._popen.kill()
            self.kills += 1
        if self._popen is not None:
            self._popen.wait(PATIENCE)
            self._popen = None

    def stop(self) -> int:
        """SIGTERM, and wait for its own end; returns its exit code."""
        assert self._popen is not None
        self._popen.terminate()
        code = self._popen.wait(PATIENCE)
        self._popen = None
        return code

    def restart(self) -> None:
        """Kill and start again, without waiting until it listens."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections and does nothing."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Processor time that it has used since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> int:
        """Bytes of memory resident now, shared pages counted whole."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """The most bytes of memory that were ever resident."""
        return self._status("VmHWM")

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
        raise AssertionError(f"no {field} in /proc/{self.pid}/status")


_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on and nobody was given before, below those that the system gives to clients."""
    while True:
        port = random.SystemRandom().randint(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
