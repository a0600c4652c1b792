"""One component as a child process that never outlives its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


async def start_child(module: str, config: Path, log: Path) -> asyncio.subprocess.Process:
    """Start `python -m MODULE --config FILE` with both its outputs appended to `log`.

    It is in a session of its own, so that Ctrl-C reaches the parent alone, which stops things in their order; and it
    is killed when the parent dies (prctl(2), PR_SET_PDEATHSIG): whatever it does survives that.
    """
    parent = os.getpid()

    def tie() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    environment = {name: value for name, value in os.environ.items() if not name.startswith("METERFABRIC_")}
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            "--config",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            preexec_fn=tie,
        )


def last_line(log: Path, most: int = 4096) -> str:
    """The last line of a log that isn't empty, for a person to see why something ended."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - most))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
