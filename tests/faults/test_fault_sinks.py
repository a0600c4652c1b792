"""Sinks that go away, come back as they were earlier, or come new: what each has and lacks is accounted for."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from meterfabric_protocol.notice import Expired, LostBySink, SinkJoined
from meterfabric_runtime.files import write_whole
from tests.faults import books
from tests.faults.fabric import Fabric, Sink
from tests.faults.load import Load
from tests.faults.process import wait_until
from tests.pki import Authority
from tests.sink.postgres_server import PostgresServer, quick_folder

pytestmark = pytest.mark.fault

MIB = 1 << 20
_QUOTA = 12 * MIB
_POST: dict[str, Any] = {"per_post": 100, "pad": 2_000}


def started(fabric: Fabric, *kinds: str, **sidecar: Any) -> Fabric:
    """One relay, one sidecar, and a sink of each kind that is named for it."""
    fabric.add_relay("relay-0")
    for kind in kinds:
        fabric.add_sink(kind, kind)
    fabric.add_sidecar("pod", **sidecar)
    return fabric.start()


def more(load: Load, records: int) -> None:
    """Wait until so many more records are accepted."""
    goal = load.count + records
    wait_until(lambda: load.count >= goal, f"{records} more records accepted")


def all_dropped(fabric: Fabric) -> bool:
    """Whether the spool holds no payload any more."""
    return all(log["dropped_to"] == log["size"] for log in fabric.status("pod").get("logs", [{"dropped_to": -1}]))


def place(sink: Sink) -> Path:
    """The folder that a file or sqlite sink is in."""
    path = Path(sink.url.partition(":")[2])
    return path if path.is_dir() else path.parent


def ready(sink: Sink) -> bool:
    """What a worker's /readyz says."""
    connection = http.client.HTTPConnection("127.0.0.1", sink.worker.ready().http_port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that no other test needs, to be stopped at will."""
    with PostgresServer.temporary(under=quick_folder()) as server:
        yield server


def test_a_database_that_is_stopped_killed_and_started_delays_and_costs_nothing(
    fabric: Fabric, own_postgres: PostgresServer
) -> None:
    billing = fabric.add_sink("billing", url=own_postgres.new_database())
    started(fabric, "file")
    down = "meterfabric_sink_destination_down_total"
    with fabric.load("pod") as load:
        more(load, 200)
        wait_until(lambda: ready(billing), "it has a relay")
        for stop in (own_postgres.stop, own_postgres.kill):
            before = fabric.metric(billing.worker, down)
            stop()
            wait_until(
                lambda: fabric.metric(billing.worker, down) > before,  # noqa: B023
                "its database is away",
            )
            assert not ready(billing)
            more(load, 200)
            assert not fabric.settled("billing")
            own_postgres.start()
            wait_until(lambda: ready(billing), "the worker is back")
    fabric.settle()
    found = books.check(fabric)
    assert not found["billing"].passed


def test_a_database_that_refuses_costs_nothing_and_says_why_until_it_is_mended(
    fabric: Fabric, own_postgres: PostgresServer
) -> None:
    url = own_postgres.new_database()
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("CREATE ROLE writer LOGIN")
        billing = fabric.add_sink("billing", url=url.replace("meterfabric@", "writer@"))
        started(fabric, "file")
        wait_until(lambda: "permission denied for database" in fabric.page(billing.worker, "/readyz"), "it says why")
        with fabric.load("pod") as load:
            more(load, 100)
            server.execute(f"GRANT CREATE ON DATABASE {server.info.dbname} TO writer".encode())
            wait_until(lambda: ready(billing), "its schema is made")
            more(load, 100)
            server.execute("REVOKE INSERT ON meterfabric.records FROM writer")
            refused = "meterfabric_sink_destination_refused_total"
            wait_until(lambda: fabric.metric(billing.worker, refused) > 0, "batches are refused")
            assert not ready(billing)
            assert "permission denied for table records" in fabric.page(billing.worker, "/readyz")
            more(load, 100)
            assert fabric.alarms("pod", "refused") > 0
            assert not fabric.settled("billing")
            server.execute("GRANT INSERT ON meterfabric.records TO writer")
            wait_until(lambda: ready(billing), "it takes batches again")
    fabric.settle()
    found = books.check(fabric)
    assert not found["billing"].passed
    assert not found["file"].passed


def test_a_running_sink_judges_by_the_trust_bundle_as_it_is_now(fabric: Fabric) -> None:
    billing = fabric.add_sink("billing", "file")
    own, whole = fabric.folder / "billing-trust.pem", fabric.trust.read_bytes()
    write_whole(own, whole)
    billing.worker.settings["trust"] = str(own)
    started(fabric, "sqlite")
    with fabric.load("pod") as load:
        more(load, 50)
        write_whole(own, Authority().pem)
        refused = "meterfabric_sink_answers_total"
        wait_until(
            lambda: fabric.metric(billing.worker, refused, kind="refused", reason="unknown-authority") > 0,
            "it trusts nobody any more",
        )
        write_whole(own, whole)
        more(load, 50)
    fabric.settle()
    found = books.check(fabric)
    assert not found["billing"].passed


@pytest.mark.parametrize("kind", ["file", "sqlite"])
@pytest.mark.parametrize("retain", [0.0, 3_600.0], ids=["dropped", "retained"])
def test_a_sink_restored_from_an_earlier_backup_is_replayed_or_its_loss_is_told(
    fabric: Fabric, kind: str, retain: float
) -> None:
    fabric.add_sink("billing", "file")
    archive = fabric.add_sink("archive", kind)
    started(fabric, spool={"retain": retain})
    with fabric.load("pod") as load:
        more(load, 200)
    fabric.settle()
    archive.worker.kill()
    stored, backup = place(archive), fabric.folder / "backup"
    shutil.copytree(stored, backup)
    archive.worker.start()
    with fabric.load("pod") as load:
        more(load, 400)
    fabric.settle()
    if not retain:
        wait_until(lambda: all_dropped(fabric), "the spool let go of what every sink has")
    archive.worker.kill()
    shutil.rmtree(stored)
    backup.rename(stored)
    archive.worker.start()
    wait_until(lambda: fabric.alarms("pod", "sink-behind") > 0, "the sidecar sees where the sink is now")
    with fabric.load("pod") as after:
        more(after, 100)
    fabric.settle()
    found = books.check(fabric)
    assert not found["billing"].passed
    if retain:
        assert not found["archive"].passed
    else:
        assert found["archive"].passed.keys() == {"lost"}
        assert 0 < found["archive"].passed["lost"] <= load.count
        assert found["archive"].of(LostBySink)


def test_a_second_sink_joins_a_running_fabric(fabric: Fabric) -> None:
    started(fabric, "file")
    with fabric.load("pod") as load:
        more(load, 300)
        wait_until(lambda: fabric.status("pod")["logs"][0]["dropped_to"] > 100, "the spool let go of some")
        late = fabric.add_sink("late", "sqlite")
        late.worker.start()
        more(load, 300)
        wait_until(lambda: fabric.status("pod")["logs"][0]["sinks"].get("late", {"acked": 0})["acked"], "it delivers")
        more(load, 100)
    fabric.settle()
    found = books.check(fabric)
    assert not found["file"].passed
    assert found["late"].passed.keys() == {"joined"}
    assert found["late"].passed["joined"] > 0
    assert found["late"].of(SinkJoined)


@pytest.mark.parametrize("policy", [{"required": False}, {"when_full": "expire-oldest"}], ids=["optional", "oldest"])
def test_a_sink_dead_for_longer_than_its_quota_expires_while_the_other_bills_on(
    fabric: Fabric, policy: dict[str, Any]
) -> None:
    dead = fabric.add_sink("dead", "file", **policy)
    started(fabric, "sqlite", spool={"quota": _QUOTA}, compression="none")
    dead.worker.kill()
    with fabric.load("pod", **_POST) as load:
        more(load, 3 * _QUOTA // 2_000)
    fabric.settle("sqlite")
    dead.worker.start()
    fabric.settle()
    found = books.check(fabric)
    assert not found["sqlite"].passed
    assert found["dead"].passed.keys() == {"expired"}
    assert found["dead"].passed["expired"] >= load.count // 3
    assert found["dead"].of(Expired)
    print(f"answers {dict(load.answers)}; expired for the dead sink {found['dead'].passed['expired']} of {load.count}")


def test_a_required_sink_dead_for_longer_than_its_quota_has_records_refused_until_it_is_back(fabric: Fabric) -> None:
    dead = fabric.add_sink("dead", "file", required=True, when_full="refuse")
    started(fabric, "sqlite", spool={"quota": _QUOTA}, compression="none")
    dead.worker.kill()
    with fabric.load("pod", **_POST) as load, fabric.zmq_load("pod") as other:
        wait_until(lambda: load.answers[429] > 5, "records are refused")
        assert fabric.status("pod")["spool"]["used"] <= _QUOTA
        fabric.settle("sqlite")
        dead.worker.start()
        more(load, 100)
        more(other, 100)
    fabric.settle()
    found = books.check(fabric)
    assert not found["sqlite"].passed
    assert not found["dead"].passed


def test_a_sink_away_for_longer_than_the_expiry_has_old_records_expired(fabric: Fabric) -> None:
    dead = fabric.add_sink("dead", "file", expiry=1.0)
    started(fabric, "sqlite")
    dead.worker.kill()
    with fabric.load("pod") as load:
        more(load, 200)
        wait_until(lambda: fabric.status("pod")["sinks"]["dead"]["expired"] >= 100, "records expired by age")
        wait_until(lambda: fabric.status("pod")["logs"][0]["dropped_to"] >= 100, "their payloads are gone")
        # What is gone from the spool and still in memory travels as it is.
        fabric.sidecars["pod"].restart()
        fabric.sidecars["pod"].ready()
    dead.worker.start()
    fabric.settle()
    found = books.check(fabric)
    assert found["dead"].passed.keys() == {"expired"}
    assert not found["sqlite"].passed
