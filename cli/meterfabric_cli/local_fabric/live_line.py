"""What the person at the terminal sees: one line that lives, and messages above it."""

from __future__ import annotations

import shutil
import time
from typing import Any, TextIO

_QUIET_SECONDS = 5.0


class LiveLine:
    """On a terminal the line is drawn over itself; elsewhere it is written when it changed, every few seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._line = ""
        self._written = 0.0

    def say(self, text: str) -> None:
        """A message that stays."""
        if self._is_terminal:
            self._out.write(f"\r\x1b[K{text}\n{self._line}")
        else:
            self._out.write(f"{text}\n")
        self._out.flush()

    def show(self, text: str, *, at_once: bool = False) -> None:
        """The line as it is now."""
        if self._is_terminal:
            self._line = text[: shutil.get_terminal_size().columns - 1]
            self._out.write(f"\r\x1b[K{self._line}")
        elif text != self._line and (at_once or time.monotonic() - self._written >= _QUIET_SECONDS):
            self._line, self._written = text, time.monotonic()
            self._out.write(f"{text}\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the line as it is and go below it."""
        if self._is_terminal and self._line:
            self._line = ""
            self._out.write("\n")
            self._out.flush()


def told(status: dict[str, Any]) -> str:
    """The sidecar's /status in one line: accepted, and per sink delivered, pending, expired."""
    parts = [f"accepted {status['accepted']:,}"]
    for name, sink in status["sinks"].items():
        counts = f"delivered {sink['delivered']:,}, pending {int(sink['pending']['records']):,}"
        parts.append(f"{name}: {counts}, expired {sink['expired']:,}")
    if status["spool"]["full"]:
        parts.append("the spool is FULL")
    return " | ".join(parts)
