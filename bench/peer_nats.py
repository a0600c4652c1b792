"""The peer: NATS JetStream at its best, as durable as we are (`sync_interval: always`), driven by NATS's own tool.

The server comes from a wheel (bench/requirements.lock), the tool is built once from its Go module into the user's
cache. `bench js pub batch` publishes while `bench js fetch` consumes. Nothing is signed, encrypted or written by the
consumer, which saves the peer work that we do.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.report import progress

TOOL = "github.com/nats-io/natscli/nats"
TOOL_VERSION = "v0.3.0"
BATCH = 1000
_STREAM = "benchstream"
_RATE = re.compile(r"stats: ([\d,]+) msgs/sec")
_READY_SECONDS = 20
_RUN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Rates:
    """What NATS's tool said of one round, messages a second."""

    published: float
    consumed: float


class Nats:
    """A running server and the tool to drive it. Use `running()`."""

    def __init__(self, tool: Path, url: str, home: Path) -> None:
        self._tool = tool
        # A home of its own, so that no context of the user's is picked up.
        self._environment = {**os.environ, "NATS_URL": url, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}

    def measure(self, records: int, size: int) -> Rates:
        """Publish `records` messages of `size` bytes in batches while a consumer fetches them.

        `records` is a multiple of the batch; raises RuntimeError with the tool's words when it fails.
        """
        self._run("stream", "purge", "--force", _STREAM)
        counts = [f"--msgs={records}", f"--batch={BATCH}", "--no-progress"]
        consumer = self._start("bench", "js", "fetch", *counts)
        try:
            published = self._rate(self._start("bench", "js", "pub", "batch", "meter", f"--size={size}B", *counts))
            return Rates(published, self._rate(consumer))
        finally:
            consumer.kill()
            consumer.wait()

    def create_stream(self) -> None:
        """Make the stream on disk and publish one batch to it; the consumer needs it to exist."""
        counts = [f"--msgs={BATCH}", f"--batch={BATCH}", "--no-progress"]
        self._run("bench", "js", "pub", "batch", "meter", "--create", "--storage=file", "--maxbytes=4GB", *counts)

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._tool, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _run(self, *arguments: str) -> str:
        process = self._start(*arguments)
        output, _ = process.communicate(timeout=_RUN_SECONDS)
        if process.returncode != 0:
            raise RuntimeError(f"nats {' '.join(arguments)} failed: {output}")
        return output

    @staticmethod
    def _rate(process: subprocess.Popen[str]) -> float:
        output, _ = process.communicate(timeout=_RUN_SECONDS)
        found = _RATE.search(output)
        if process.returncode != 0 or found is None:
            raise RuntimeError(f"nats bench told no rate: {output}")
        return float(found[1].replace(",", ""))


@contextlib.contextmanager
def running() -> Iterator[Nats]:
    """Run a server on 127.0.0.1 with its store in a temporary folder for as long as the block."""
    tool = install_tool()
    with tempfile.TemporaryDirectory(prefix="bench-nats-") as folder:
        home, port = Path(folder), _free_port()
        config, log = home / "server.conf", home / "server.log"
        config.write_text(
            f'listen: "127.0.0.1:{port}"\n'
            f'jetstream {{ store_dir: "{home}/store", sync_interval: always, max_file_store: 8GB }}\n'
        )
        with log.open("wb") as output:
            server = subprocess.Popen([_server(), "-c", config], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait_until_ready(server, log)
            nats = Nats(tool, f"nats://127.0.0.1:{port}", home)
            nats.create_stream()
            yield nats
        finally:
            server.terminate()
            server.wait()


def versions() -> str:
    """The server's version and the tool's."""
    server = subprocess.run([_server(), "--version"], capture_output=True, text=True, check=True).stdout
    return f"{server.split()[-1]}, natscli {TOOL_VERSION}"


def install_tool() -> Path:
    """The path of NATS's command-line tool, built now if this version never was."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "meterfabric" / f"natscli-{TOOL_VERSION}"
    tool = folder / "nats"
    if not tool.exists():
        progress(f"building {TOOL}@{TOOL_VERSION} once (a minute)")
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["go", "install", f"{TOOL}@{TOOL_VERSION}"],
            env={**os.environ, "GOBIN": str(folder)},
            stdin=subprocess.DEVNULL,
            check=True,
        )
    return tool


def _server() -> str:
    beside_python = Path(sys.executable).with_name("nats-server")
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("no nats-server: run this by `make bench`, which installs it")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while "Server is ready" not in log.read_text():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"nats-server did not start: {log.read_text()}")
        time.sleep(0.02)


if __name__ == "__main__":
    with running() as peer:
        for _ in range(3):
            print(peer.measure(200_000, 300))
