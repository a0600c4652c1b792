"""What the tests of faults share."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.fabric import Fabric
from tests.sink.postgres_server import PostgresServer, quick_folder


@pytest.fixture
def tmpfs() -> Iterator[Callable[[Path, int], None]]:
    """Mounts a file system of so many bytes at a folder, or makes it that large where one is; name it before `fabric`,
    so that whoever uses it is gone first."""
    mounted: list[Path] = []

    def mount(folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        options = f"size={size}" if folder not in mounted else f"remount,size={size}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
        if folder not in mounted:
            mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Fabric]:
    """A fabric with an authority and nothing else yet; after the test, no process may have failed unseen."""
    with Fabric(tmp_path / "fabric") as made:
        yield made
    for process in made.processes():
        assert "Traceback" not in process.log, f"{process.name} failed: {process.log[-6000:]}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer.temporary(under=quick_folder()) as server:
        yield server
