"""Room set aside on the disk for the way out of a full one.

Deleting is writing, first to the WAL. On a disk without a free byte a spool could no longer drop what was delivered,
and would stay full for ever; so a file lies ready that is thrown overboard then, and made anew before records are taken
again.
"""

import os
from contextlib import suppress
from pathlib import Path


class Ballast:
    """A file of `size` bytes that are really allocated. `held` says whether it is there."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self.held = False

    def take(self) -> bool:
        """Make the file unless it is there; whether it is now."""
        if self.held:
            return True
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, self._size)
            finally:
                os.close(file)
        except OSError:
            self.release()
            return False
        self.held = True
        return True

    def release(self) -> None:
        """Remove the file."""
        self.held = False
        with suppress(OSError):
            self._path.unlink()
