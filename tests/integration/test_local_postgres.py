"""A local fabric whose sink is PostgreSQL, with two workers racing: each record is there once."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.independent import verify_proof
from tests.integration.local_driver import command, events, fabric_yaml, running, wait_until
from tests.sink.postgres_server import PostgresServer, quick_folder

pytestmark = pytest.mark.integration


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer.temporary(under=quick_folder()) as server:
        yield server


def test_two_workers_write_each_record_once_and_one_may_die(server: PostgresServer, tmp_path: Path) -> None:
    url = server.empty_database()
    yaml = fabric_yaml(("billing", f'{{postgres: {{url: "{url}"}}}}'), workers=2)
    with running(yaml, tmp_path) as local:
        command("send", "--url", local.state()["zeromq"], "-", stdin=events(5_000, "first"))
        local.kill_process("sink billing worker-0")
        command("send", "--url", local.state()["http"], "-", stdin=events(5_000, "second"))
        local.kill_process("sink billing worker-1")
        local.wait_delivered()
        assert local.stop() == 0
        assert local.delivered("billing") == 10_000
        with psycopg.connect(url) as database:
            found = database.execute(
                "SELECT count(*), count(DISTINCT id), sum((data->>'value')::int) FROM meterfabric.records"
            ).fetchone()
        assert found == (10_000, 10_000, 2 * sum(range(5_000)))
        out = tmp_path / "proof"
        command("prove", "--sink", url, "--source", "//meter", "--id", "second-77", "--out", out)
        assert command("verify", out, "--trust", local.trust).endswith("holds\n")
        assert verify_proof(out, local.trust, tmp_path).sink.endswith("/sink/billing")
        command("erase", "--sink", url, "--source", "//meter", "--id", "second-77")
        assert local.delivered("billing") == 10_000


def test_a_database_that_is_away_is_told_and_the_password_for_it_is_not(server: PostgresServer, tmp_path: Path) -> None:
    url = server.empty_database().replace("meterfabric@", "meterfabric:secret@")
    server.stop()
    with running(fabric_yaml(("billing", f'{{postgres: {{url: "{url}"}}}}')), tmp_path) as local:
        told = "sink billing worker-0 isn't ready: destination: PostgreSQL: "
        wait_until("it is told", lambda: told in local.said)
        command("send", "--url", local.state()["http"], "-", stdin=events(100, "waiting"))
        said = command("status", "--dir", local.folder, code=1)
        assert "NOT READY" in said
        assert "sink billing worker-0: destination: PostgreSQL: " in said
        server.start()
        wait_until("its return is told", lambda: "sink billing worker-0 is ready again" in local.said)
        local.wait_delivered()
        command("status", "--dir", local.folder)
        for text in (said, local.said, (local.folder / "state.json").read_text()):
            assert "secret" not in text
            assert "meterfabric:***@127.0.0.1" in text
