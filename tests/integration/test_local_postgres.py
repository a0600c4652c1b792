"""A local fabric whose sink is PostgreSQL, with two workers racing: each record is there once."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.independent import verify_proof
from tests.integration.local_driver import command, events, fabric_yaml, running
from tests.sink.postgres_server import PostgresServer, quick_folder

pytestmark = pytest.mark.integration


@pytest.fixture
def url() -> Iterator[str]:
    with PostgresServer.temporary(under=quick_folder()) as server:
        yield server.empty_database()


def test_two_workers_write_each_record_once_and_one_may_die(url: str, tmp_path: Path) -> None:
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
