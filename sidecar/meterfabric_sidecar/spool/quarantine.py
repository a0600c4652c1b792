"""The folder where damaged bytes are kept aside for a person to look at.

They count against the spool's quota, so there is a bound; past it the oldest go.
"""

import os
from pathlib import Path


class Quarantine:
    """Files in `folder`, at most `max_bytes` in all. Raises OSError where the folder can't be made."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max = max_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.bytes = sum(path.stat().st_size for path in folder.iterdir())

    def keep(self, name: str, data: bytes) -> None:
        """Keep bytes under a name. What can't be kept is let go: the notice about it matters more than the remains."""
        if self._make_room(len(data)):
            try:
                (self._folder / self._free(name)).write_bytes(data)
                self.bytes += len(data)
            except OSError:
                return

    def adopt(self, path: Path) -> None:
        """Move a file in, or remove it where it is larger than the folder may be. Raises OSError."""
        size = path.stat().st_size
        if self._make_room(size):
            path.rename(self._folder / self._free(path.name))
            self.bytes += size
        else:
            path.unlink()

    def _free(self, name: str) -> str:
        safe = name.replace("/", "_").lstrip(".")
        taken = set(os.listdir(self._folder))
        number = 0
        while (found := f"{safe}.{number}") in taken:
            number += 1
        return found

    def _make_room(self, size: int) -> bool:
        if size > self._max:
            return False
        for path in sorted(self._folder.iterdir(), key=lambda p: p.stat().st_mtime):
            if self.bytes + size <= self._max:
                break
            self.bytes -= path.stat().st_size
            path.unlink()
        return True
