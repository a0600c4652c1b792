"""`meterfabric local` and its sister commands as real processes, for tests of the whole way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

METERFABRIC = [sys.executable, "-m", "meterfabric_cli.main"]
READY_SECONDS = 60.0
STOP_SECONDS = 60.0

FABRIC = """\
apiVersion: meterfabric.io/v1alpha1
kind: MeteringFabric
metadata: {{name: demo, namespace: metering}}
spec:
  trustDomain: demo.example
  delivery: {{drain: 20s}}
  relay: {{replicas: {relays}}}
"""
SINK = """\
---
apiVersion: meterfabric.io/v1alpha1
kind: MeteringSink
metadata: {{name: {name}, namespace: metering}}
spec:
  fabric: demo
  required: {required}
  workers: {workers}
  destination: {destination}
"""


def fabric_yaml(*sinks: tuple[str, str], relays: int = 2, workers: int = 1, required: bool = True) -> str:
    """A fabric with these sinks, each a name and its destination in YAML."""
    made = [
        SINK.format(name=name, destination=destination, workers=workers, required=str(required).lower())
        for name, destination in sinks
    ]
    return FABRIC.format(relays=relays) + "".join(made)


def wait_until(what: str, holds: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Poll until it holds; AssertionError naming it where it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def command(*words: object, code: int = 0, stdin: bytes = b"") -> str:
    """Run a command of `meterfabric`; what it printed. AssertionError where it ends with another code."""
    done = subprocess.run([*METERFABRIC, *map(str, words)], check=False, input=stdin, capture_output=True, timeout=120)
    said = done.stdout.decode()
    assert done.returncode == code, f"{words}: code {done.returncode}\n{said}\n{done.stderr.decode()}"
    return said


class Local:
    """One `meterfabric local`, on any free port."""

    def __init__(self, yaml: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder / "run"
        self.trust = self.folder / "trust.pem"
        self._yaml = folder / "fabric.yaml"
        self._yaml.write_text(yaml)
        self._out = folder / "local.out"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """What the command printed so far, over all starts."""
        return self._out.read_text()

    @property
    def pid(self) -> int:
        """The command's own process id."""
        assert self._process is not None
        return self._process.pid

    def change(self, yaml: str) -> None:
        """Put another YAML in place for the next start."""
        self._yaml.write_text(yaml)

    def start(self, port: int = 0) -> None:
        """Start, and wait until every part is ready."""
        words = ["local", "--fabric", self._yaml, "--dir", self.folder, "--port", port]
        with self._out.open("ab") as out:
            self._process = subprocess.Popen(
                [*METERFABRIC, *map(str, words)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        wait_until(f"ready: {self._out}", self._is_ready)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to drain and stop; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def state(self) -> dict[str, Any]:
        """state.json."""
        found: dict[str, Any] = json.loads((self.folder / "state.json").read_bytes())
        return found

    def status(self) -> dict[str, Any]:
        """`status --json`, whatever its exit code."""
        words = [*METERFABRIC, "status", "--json", "--dir", str(self.folder)]
        found: dict[str, Any] = json.loads(
            subprocess.run(words, check=False, stdout=subprocess.PIPE, timeout=60).stdout
        )
        return found

    def sinks(self) -> dict[str, str]:
        """SINKURLs by name."""
        return {sink["name"]: sink["url"] for sink in self.state()["sinks"]}

    def process(self, name: str) -> dict[str, Any]:
        """What state.json says of one process."""
        (found,) = [each for each in self.state()["processes"] if each["name"] == name]
        return dict(found)

    def kill_process(self, name: str) -> None:
        """kill -9 one of its processes, and wait until another took its place."""
        before = self.process(name)
        assert before["pid"] > 1
        os.kill(before["pid"], signal.SIGKILL)

        def is_back() -> bool:
            now = self.process(name)
            return bool(now["ready"] and now["pid"] != before["pid"] and now["restarts"] > before["restarts"])

        wait_until(f"{name} is back", is_back)

    def wait_delivered(self) -> None:
        """Wait until no sink has anything pending."""

        def is_delivered() -> bool:
            sidecar = self.status()["sidecar"]
            if sidecar is None:
                return False
            ends = [(log["size"], sink["acked"]) for log in sidecar["logs"] for sink in log["sinks"].values()]
            return bool(ends) and all(size == acked for size, acked in ends)

        wait_until("everything is delivered", is_delivered)

    def audit(self, name: str, code: int = 0) -> dict[str, Any]:
        """The audit of one sink."""
        words = ("audit", "--json", "--sink", self.sinks()[name], "--trust", self.trust)
        found: dict[str, Any] = json.loads(command(*words, code=code))
        return found

    def delivered(self, name: str) -> int:
        """Records that the audit of one sink, which must be whole, shows as delivered."""
        found = self.audit(name)
        assert found["whole"]
        return sum(int(producer["records"]["delivered"]) for producer in found["producers"])

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"it ended:\n{self.said}"
        with contextlib.suppress(FileNotFoundError):
            state = self.state()
            return state["pid"] == self.pid and all(each["ready"] for each in state["processes"])
        return False


@contextlib.contextmanager
def running(yaml: str, folder: Path) -> Iterator[Local]:
    """A local fabric for as long as the block; drained and stopped after it, killed where that takes too long."""
    local = Local(yaml, folder)
    local.start()
    try:
        yield local
    finally:
        if local._process is not None and local._process.poll() is None:
            try:
                local.stop()
            except subprocess.TimeoutExpired:
                local.kill()


def events(count: int, stream: str) -> bytes:
    """NDJSON of that many events; another stream has other ids."""
    lines = [
        json.dumps(
            {
                "specversion": "1.0",
                "id": f"{stream}-{number}",
                "source": "//meter",
                "type": "cpu.seconds",
                "subject": f"customer-{number % 5}",
                "data": {"value": number},
            }
        )
        for number in range(count)
    ]
    return "\n".join(lines).encode() + b"\n"
