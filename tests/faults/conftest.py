"""What the tests of faults share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fabric import Fabric
from tests.sink.postgres_server import PostgresServer, quick_folder


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
