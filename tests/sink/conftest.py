"""What tests of the sink share: one PostgreSQL server for the run, and each destination as a URL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sink.postgres_server import PostgresServer, quick_folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer.temporary(under=quick_folder()) as server:
        yield server


@pytest.fixture(params=["file", "sqlite", "postgres"])
def sink_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The SINKURL of an empty destination, of each kind in turn."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.empty_database()
    return f"file:{tmp_path / 'sink'}" if request.param == "file" else f"sqlite:{tmp_path / 'sink.db'}"
