"""Commands as a person would type them, shown as they run, and progress while one waits."""

from __future__ import annotations

import os
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

_SHOWN_SECONDS = 15.0
"""How often a wait is told where nobody looks at a terminal."""
_POLL_SECONDS = 0.5


class DemoFailed(Exception):
    """What went wrong and what to do, for a person."""


class Ticker:
    """One line that says what is waited for and since when: on a terminal always the same line, else now and then."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._begun = self._told = time.monotonic()

    def tick(self, text: str) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        line = f"  … {text} ({now - self._begun:.0f} s)"
        if self._live:
            columns = os.get_terminal_size(self._out.fileno()).columns
            self._out.write(f"\r\x1b[K{line[: columns - 1]}")
            self._out.flush()
        elif now - self._told >= _SHOWN_SECONDS:
            self._told = now
            print(line, file=self._out, flush=True)

    def clear(self) -> None:
        """Make room for another line."""
        if self._live:
            self._out.write("\r\x1b[K")
            self._out.flush()


class Commands:
    """Runs commands in the folder and environment that all of a demo's commands share."""

    def __init__(self, folder: Path, environment: Mapping[str, str], out: TextIO = sys.stdout) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._out = out

    def within(self, **changes: str) -> Commands:
        """The same with other variables."""
        return Commands(self._folder, {**self._environment, **changes}, self._out)

    def say(self, text: str) -> None:
        """A heading: what comes now, in a sentence."""
        print(f"\n== {text}", file=self._out, flush=True)

    def tell(self, text: str) -> None:
        """Lines below a heading."""
        for line in text.rstrip("\n").splitlines():
            print(f"  {line}".rstrip(), file=self._out, flush=True)

    def ask(self, *words: str) -> str:
        """What a command prints that is not worth showing. Raises DemoFailed."""
        done = self._done(words)
        if done.returncode:
            raise DemoFailed((done.stderr or done.stdout).strip() or f"{shlex.join(words)}: {done.returncode}")
        return done.stdout

    def holds(self, *words: str) -> bool:
        """Whether a command ends well, not shown."""
        return self._done(words).returncode == 0

    def run(self, *words: str, spoken: str = "", printed: bool = False, quiet: bool = False) -> str:
        """Show a command, run it, and show what it says meanwhile on standard error; returns what it printed.

        `spoken`: how to show it, where the words aren't what a person would type. `printed`: show what it prints too;
        `quiet`: show what it says only where it fails. Raises DemoFailed where it ends with another status than 0.
        """
        spoken = spoken or shlex.join(words)
        print(f"$ {spoken}", file=self._out, flush=True)
        with subprocess.Popen(
            words,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            output, said, ticker, latest = "", "", Ticker(self._out), spoken[:60]
            for line, is_error in _lines(process):
                if line is None:
                    ticker.tick(latest)
                    continue
                output += "" if is_error else line
                shown = printed or (is_error and not quiet)
                said += "" if shown else line
                if shown:
                    ticker.clear()
                    self.tell(line.rstrip() or " ")
                    latest = line.strip() or latest
            ticker.clear()
        if process.returncode:
            self.tell(said)
            raise DemoFailed(f"that ended with status {process.returncode}")
        return output

    def wait(self, what: str, seconds: float, look: Callable[[], tuple[bool, str]]) -> None:
        """Return once `look` says that it is so; it also says how far it is. Raises DemoFailed."""
        ticker, deadline = Ticker(self._out), time.monotonic() + seconds
        while True:
            done, text = look()
            if done:
                ticker.clear()
                return
            if time.monotonic() > deadline:
                ticker.clear()
                raise DemoFailed(f"{what}: not after {seconds:.0f} s; {text}")
            ticker.tick(f"{what}: {text}")
            time.sleep(_POLL_SECONDS)

    def _done(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def _lines(process: subprocess.Popen[str]) -> Iterator[tuple[str | None, bool]]:
    """Each line as it comes, and whether it was on standard error; None whenever a while passed without one."""
    came: queue.SimpleQueue[tuple[str, bool] | None] = queue.SimpleQueue()

    def read(pipe: TextIO | None, is_error: bool) -> None:
        for line in pipe or ():
            came.put((line, is_error))
        came.put(None)

    pipes = ((process.stdout, False), (process.stderr, True))
    for each in pipes:
        threading.Thread(target=read, args=each, daemon=True).start()
    left = len(pipes)
    while left:
        try:
            found = came.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            yield None, False
            continue
        if found is None:
            left -= 1
        else:
            yield found
