"""One process per spool."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from meterfabric_runtime import lock

_NAME: Final = "lock"


class SpoolLocked(Exception):
    """Another process has the spool's folder."""

    def __init__(self, folder: Path, pid: str) -> None:
        super().__init__(
            f"the spool {folder} is in use by process {pid or 'unknown'}: stop that one, or give this one a folder"
            " of its own"
        )
        self.folder = folder
        self.pid = pid


class FolderLock:
    """An exclusive flock on a folder, held from construction to `close`; the kernel frees it when the process dies.

    The file holds the owner's process id for people and for the error. Raises SpoolLocked, OSError.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / _NAME
        try:
            self._file = lock.take(path)
        except BlockingIOError:
            raise SpoolLocked(folder, _owner(path)) from None
        # The lock counts, its label doesn't: a full disk must not keep a sidecar from starting.
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Free the folder."""
        os.close(self._file)


def _owner(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:32].strip()
    except OSError:
        return ""
