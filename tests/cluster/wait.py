"""Waiting for a condition, for so long and no longer."""

import time
from collections.abc import Callable

INTERVAL = 0.1
PART = 0.05
"""Of the time that was waited: a process to ask with costs as much as others need to get there."""
LONGEST = 1.0


def until(what: str, seconds: float, condition: Callable[[], object]) -> None:
    """Return once `condition` is true. Raises TimeoutError, which says what was waited for."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds:
            raise TimeoutError(f"after {seconds:g} s it is still not so that {what}")
        time.sleep(min(max(INTERVAL, waited * PART), LONGEST))
