"""A whole fabric on this machine, run by the command that users run, with the defaults that users get."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.load import Sent
from meterfabric_cli.local_fabric import ports

_READY_SECONDS = 60
_DELIVERY_SECONDS = 300
_POLL_SECONDS = 0.005

_FABRIC = """\
apiVersion: meterfabric.io/v1alpha1
kind: MeteringFabric
metadata:
  name: bench
  namespace: bench
spec:
  trustDomain: bench.example
  relay:
    replicas: {relays}
---
apiVersion: meterfabric.io/v1alpha1
kind: MeteringSink
metadata:
  name: bench
  namespace: bench
spec:
  fabric: bench
  required: true
  whenFull: Refuse
  destination:
    file: {{}}
"""


@dataclass(frozen=True)
class Used:
    """What a command took: seconds, and MiB resident at its peak (the pages of files it has mapped among them)."""

    seconds: float
    peak: float


class Fabric:
    """A running fabric with one `file` sink. Use `running()`."""

    def __init__(self, local: subprocess.Popen[bytes], folder: Path, port: int) -> None:
        self.folder = folder
        self.trust = folder / "trust.pem"
        self.sink = f"file:{folder / 'sinks' / 'bench'}"
        self.http_port = port
        self.ingest = f"tcp://127.0.0.1:{port + 1}"
        self._local = local
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._asking = threading.Lock()

    def status(self) -> dict[str, Any]:
        """The sidecar's /status; threads may ask."""
        with self._asking:
            self._connection.request("GET", "/status")
            answer = self._connection.getresponse()
            body = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"/status answered {answer.status}: {body!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    def delivered(self) -> int:
        """Records that the sink has given receipts for."""
        return int(self.status()["sinks"]["bench"]["delivered"])

    def relay(self) -> str:
        """The relay that carries the newest log; empty while none does."""
        (log,) = (log for log in self.status()["logs"] if log["active"])
        return str(log["sinks"].get("bench", {}).get("relay") or "")

    def relay_pid(self, name: str) -> int:
        """The process of the relay of that name; 0 while it has none."""
        return next((pid for pid in self.pids()["relay"] if processes.names(pid, name)), 0)

    def wait_until_delivered(self, records: int) -> float:
        """Wait until so many records have receipts; returns when that was seen, on CLOCK_MONOTONIC."""
        deadline = time.monotonic() + _DELIVERY_SECONDS
        while self.delivered() < records:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.delivered()} of {records} records delivered in {_DELIVERY_SECONDS} s")
            time.sleep(_POLL_SECONDS)
        return time.monotonic()

    def send(self, messages: int, *, per_message: int = 1000, size: int = 300, first: int = 0, stream: int = 1) -> Sent:
        """Send as fast as the sidecar lets, from a process of its own; returns when all is durably accepted."""
        load = [sys.executable, "-m", "bench.load", self.ingest, f"--messages={messages}", f"--first={first}"]
        output = subprocess.run(
            [*load, f"--per-message={per_message}", f"--size={size}", f"--stream={stream}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        return Sent(**json.loads(output))

    def pids(self) -> dict[str, list[int]]:
        """Process ids by component."""
        return processes.by_role(self._local.pid)

    def audit(self) -> Used:
        """Hold the sink's books and evidence to account with the auditor's command; raises where they aren't whole."""
        return run_cli("audit", "--sink", self.sink, "--trust", str(self.trust))

    def prove(self, source: str, event: str, out: Path) -> Used:
        """Write the proof of one record to the folder `out`."""
        return run_cli("prove", "--sink", self.sink, "--source", source, "--id", event, "--out", str(out))

    def verify(self, out: Path) -> Used:
        """Verify the proof in `out`; raises where it doesn't hold."""
        return run_cli("verify", str(out), "--trust", str(self.trust))


def run_cli(*arguments: str) -> Used:
    """Run `meterfabric …`, its start included; raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "meterfabric_cli.main", *arguments]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    # What wait4(2) tells as the peak is that of the process which forked, where that was larger.
    peak = 0
    while process.poll() is None:
        peak = max(peak, processes.peak(process.pid))
        time.sleep(_POLL_SECONDS)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Used(seconds, peak / 2**20)


@contextlib.contextmanager
def running(relays: int = 1) -> Iterator[Fabric]:
    """Run a fabric in a temporary folder for as long as the block; it is empty and ready when the block begins."""
    with tempfile.TemporaryDirectory(prefix="bench-fabric-") as name:
        folder, port = Path(name), ports.choose(0)
        spec, log = folder / "fabric.yaml", folder / "local.log"
        spec.write_text(_FABRIC.format(relays=relays))
        with log.open("wb") as output:
            command = ["local", "--fabric", str(spec), "--dir", str(folder / "run"), "--port", str(port)]
            local = subprocess.Popen(
                [sys.executable, "-m", "meterfabric_cli.main", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            _wait_until_ready(local, port, log)
            yield Fabric(local, folder / "run", port)
        finally:
            local.send_signal(signal.SIGINT)
            try:
                local.wait(timeout=60)
            except subprocess.TimeoutExpired:
                local.kill()
                local.wait()


def _wait_until_ready(local: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            probe = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            probe.request("GET", "/readyz")
            if probe.getresponse().status == http.client.OK:
                return
        if local.poll() is not None or time.monotonic() > deadline:
            tail = log.read_bytes()[-4000:].decode(errors="replace")
            raise RuntimeError(f"the fabric did not start: {tail}")
        time.sleep(0.05)
