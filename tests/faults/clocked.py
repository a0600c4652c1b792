"""Runs a component's module with a wall clock that is off by what a file says.

    python clocked.py MODULE --config FILE

The file named by FAULTS_CLOCK holds seconds; it is read at each look at the clock, so that a running process sees a
jump. Monotonic time is left alone, as it is when somebody sets a machine's clock.
"""

import datetime
import importlib
import os
import sys
import time
from pathlib import Path

_file = Path(os.environ["FAULTS_CLOCK"])
_true_time = time.time


def _time() -> float:
    return _true_time() + float(_file.read_text())


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
        return datetime.datetime.fromtimestamp(_time(), tz)


def main() -> None:
    time.time = _time
    component = importlib.import_module(sys.argv.pop(1))
    for name, module in list(sys.modules.items()):
        if name.startswith("meterfabric_") and getattr(module, "datetime", None) is datetime.datetime:
            module.datetime = _Datetime  # type: ignore[attr-defined]
    component.main()


if __name__ == "__main__":
    main()
