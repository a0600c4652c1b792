"""The clusters that this machine has or may have: each is written down before anything of it is made.

So one that a killed run left is found, whatever that run had come to. The register is a folder that a reboot empties.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster import network, paths

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """A process for as long as it lives: ids are used again, with another time of start (clock ticks after boot)."""

    pid: int
    started: int

    def lives(self) -> bool:
        """Whether it runs, and isn't another that got its id."""
        return _started(self.pid) == self.started


@dataclass(frozen=True)
class Entry:
    """`owner`: the process that the cluster is to end with, such as a run of tests; without one it stays."""

    name: str
    version: str
    nodes: int
    folder: str
    owner: Process | None = None

    @property
    def abandoned(self) -> bool:
        """Whether its owner has ended without removing it."""
        return self.owner is not None and not self.owner.lives()


def this_process() -> Process:
    """The process that asks."""
    return Process(os.getpid(), _started(os.getpid()) or 0)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Alone with the cluster of this name, which others may be making or removing."""
    paths.REGISTER.mkdir(mode=0o700, exist_ok=True)
    place = paths.REGISTER / f"{name}.lock"
    while True:
        with place.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever had it before has removed the file: then this lock is nobody else's, and there is another to take.
            if not place.exists() or not os.path.samestat(os.fstat(lock.fileno()), place.stat()):
                continue
            try:
                yield
            finally:
                place.unlink()
            return


def write(entry: Entry) -> None:
    """Write a cluster down."""
    place = _place(entry.name)
    unfinished = place.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(entry)))
    unfinished.rename(place)


def read(name: str) -> Entry | None:
    """What is written of a cluster."""
    try:
        fields = json.loads(_place(name).read_text())
    except FileNotFoundError:
        return None
    owner = fields.pop("owner")
    return Entry(**fields, owner=Process(**owner) if owner else None)


def strike(name: str) -> None:
    """The cluster is no more."""
    _place(name).unlink(missing_ok=True)


def entries() -> list[Entry]:
    """All clusters, by name. One that nobody wrote down but whose namespaces are there, or whose folder is there since
    before the last boot, counts as abandoned."""
    folders = {path.parent.name for path in paths.clusters().glob(f"*/{_BOOT.name}") if not _of_this_boot(path.parent)}
    names = {path.stem for path in paths.REGISTER.glob("*.json")} | network.clusters() | folders
    nobody = Process(0, 0)
    return [read(name) or Entry(name, "?", 0, str(paths.clusters() / name), nobody) for name in sorted(names)]


def make_folder(folder: Path) -> None:
    """Make a cluster's folder, with the boot that it is of: others may share the cache who have registers of their own,
    as containers of one machine do, and then the folder alone doesn't say that the cluster is gone."""
    folder.mkdir(parents=True)
    (folder / _BOOT.name).write_text(_BOOT.read_text())


def _of_this_boot(folder: Path) -> bool:
    try:
        return (folder / _BOOT.name).read_text() == _BOOT.read_text()
    except FileNotFoundError:
        return True  # it is just being removed


def _place(name: str) -> Path:
    return paths.REGISTER / f"{name}.json"


def _started(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the name, field 2, may hold blanks and brackets; the start is field 22.
    return int(text[text.rindex(")") + 2 :].split()[19])
