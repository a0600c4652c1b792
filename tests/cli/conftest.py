"""What tests of the commands share: a made sink of each kind, and the command line with its output."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.made_sink import MadeSink
from tests.cli.running import Command
from tests.sink.postgres_server import PostgresServer, quick_folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer.temporary(under=quick_folder()) as server:
        yield server


@pytest.fixture
def sink(tmp_path: Path) -> MadeSink:
    """An empty sink of the embedded kind."""
    return MadeSink(f"sqlite:{tmp_path / 'records.db'}", tmp_path)


@pytest.fixture(params=["sqlite", "file", pytest.param("postgres", marks=pytest.mark.integration)])
def any_sink(request: pytest.FixtureRequest, tmp_path: Path) -> MadeSink:
    """An empty sink of each kind in turn."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return MadeSink(server.empty_database(), tmp_path)
    return MadeSink(f"{request.param}:{tmp_path / 'sink'}", tmp_path)


@pytest.fixture
def meterfabric(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line."""
    return Command(capsys)
