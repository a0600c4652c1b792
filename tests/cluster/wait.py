"""Waiting for a condition, for so long and no longer."""

import time
from collections.abc import Callable

INTERVAL = 0.1


def until(what: str, seconds: float, condition: Callable[[], object]) -> None:
    """Return once `condition` is true. Raises TimeoutError, which says what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s it is still not so that {what}")
        time.sleep(INTERVAL)
