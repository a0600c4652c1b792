"""state.json: what a local fabric runs, where to send and what to audit; and the lock that makes it one command's."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from meterfabric_cli.errors import CommandError
from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_runtime import lock
from meterfabric_runtime.files import write_whole


class ProcessState(msgspec.Struct):
    """One process; ports are 0 where it has none or isn't ready, `pid` where it doesn't run."""

    name: str
    component: str
    folder: str
    pid: int
    ready: bool
    port: int
    http_port: int
    restarts: int
    since: float


class SinkState(msgspec.Struct):
    """One sink and its SINKURL."""

    name: str
    url: str


class State(msgspec.Struct):
    """A local fabric as it was when this was written. `pid` is the command's that runs it."""

    pid: int
    fabric: str
    http: str
    zeromq: str
    trust: str
    sinks: list[SinkState]
    processes: list[ProcessState]

    def write(self, path: Path) -> None:
        """Put it at `path`, whole."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self)) + b"\n", 0o644)


def read_state(path: Path) -> State:
    """Read it. Raises CommandError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError as error:
        raise CommandError(f"--dir: {path} isn't there; no fabric was started in this folder") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise CommandError(f"--dir: {path}: {error}") from error


def take_lock(layout: Layout) -> int:
    """Take the folder for this process; the descriptor holds it. Raises CommandError where another has it."""
    try:
        layout.folder.mkdir(parents=True, exist_ok=True)
        return lock.take(layout.lock)
    except BlockingIOError as error:
        raise CommandError(f"--dir: {layout.folder} is run by {_owner(layout)} already; stop that one first") from error
    except FileExistsError as error:
        raise CommandError(f"--dir: {layout.folder} is no folder") from error
    except OSError as error:
        raise CommandError(f"--dir: {error.filename}: {error.strerror}") from error


def _owner(layout: Layout) -> str:
    with contextlib.suppress(CommandError):
        return f"process {read_state(layout.state).pid}"
    return "another process"


def is_running(layout: Layout) -> bool:
    """Whether a command runs the folder now."""
    return lock.is_taken(layout.lock)
