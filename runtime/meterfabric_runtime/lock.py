"""Files that one process at a time holds (flock(2)); the kernel frees them when the process dies, however it does."""

import fcntl
import os
from pathlib import Path


def take(path: Path) -> int:
    """Make the file if need be and take it; the descriptor that is returned holds it until it is closed.

    Raises BlockingIOError where another has it, OSError where it can't be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_taken(path: Path) -> bool:
    """Whether a process holds the file now; where there is none, nobody does. Raises OSError where it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
