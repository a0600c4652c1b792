"""A loading process as the measurement sees it: started, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.scale.ground import Ground

_PATIENCE = 60.0


@dataclass(frozen=True)
class Told:
    """One line: when, on CLOCK_MONOTONIC, and how many by then."""

    at: float
    number: float


class Loading:
    """One process that prints numbers under one name. Use `loading()`."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self.process = process
        self.told: list[Told] = []
        self._name = name
        self._thread = threading.Thread(target=self._listen, name="loading", daemon=True)
        self._thread.start()

    def now(self) -> float:
        """The newest number; 0 before the first."""
        return self.told[-1].number if self.told else 0

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            said = json.loads(line)
            if self._name in said:
                self.told.append(Told(said["at"], said[self._name]))


def wait(condition: Callable[[], bool], what: str, among: list[Loading], seconds: float = _PATIENCE) -> float:
    """Look until it holds; returns when it was seen. Raises RuntimeError with `what`."""
    deadline = time.monotonic() + seconds
    while not condition():
        ended = [each.process.returncode for each in among if each.process.poll() is not None]
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}" + (f" (a load ended: {ended})" if ended else ""))
        time.sleep(0.02)
    return time.monotonic()


@contextlib.contextmanager
def loading(ground: Ground, module: str, name: str, peers: Path, **options: int) -> Iterator[Loading]:
    """Run `bench.scale.<module>` for as long as the block."""
    words = [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", f"bench.scale.{module}", f"--key={ground.curve.public.hex()}"),
            *(f"--peers={peers}", f"--relays={ground.relays_file}", *words),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Loading(process, name)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
