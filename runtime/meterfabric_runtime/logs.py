"""Logs as one JSON object a line, on standard error: what a collector can read without a rule of its own."""

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

import msgspec

# What every LogRecord carries; anything else on one was given by the caller with `extra=` and is a field.
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "component", "message", …extra, "error"?}`, time in RFC 3339 UTC.

    An extra field that JSON can't hold is shown by its repr: a log line is never lost to its own content.
    """

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "component": self._component,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return msgspec.json.encode(line, enc_hook=repr).decode("utf-8", "replace")


def configure(component: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Send the root logger to `stream` (default standard error) in JSON; replaces what was set up before."""
    if level not in LEVELS:
        raise ValueError(f"log level: one of {', '.join(LEVELS)}, not {level!r}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(component))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
