"""A whole fabric on one machine: records in over both doors, out in both sinks, proven with others' tools."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.independent import verify_proof
from tests.integration.local_driver import METERFABRIC, Local, command, events, fabric_yaml, running, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One fabric for all tests here; each sends events of its own."""
    yaml = fabric_yaml(("billing", "{sqlite: {}}"), ("archive", "{file: {}}"))
    with running(yaml, tmp_path_factory.mktemp("local")) as made:
        yield made


def test_records_over_both_doors_arrive_in_both_sinks_while_processes_are_killed(local: Local) -> None:
    before = {name: local.delivered(name) for name in local.sinks()}
    files = [local.folder / "one.ndjson", local.folder / "two.ndjson"]
    for file, stream in zip(files, ("over-http", "over-zeromq"), strict=True):
        file.write_bytes(events(20_000, stream))
    urls = (local.state()["http"], local.state()["zeromq"])
    sending = [
        subprocess.Popen(
            [*METERFABRIC, "send", "--url", url, "--rate", "4000", str(file)],
            stdout=subprocess.PIPE,
        )
        for url, file in zip(urls, files, strict=True)
    ]
    for name in ("relay-0", "sink billing worker-0", "sidecar", "relay-1", "sink archive worker-0"):
        local.kill_process(name)
    for each in sending:
        said, _ = each.communicate(timeout=60)
        assert each.returncode == 0, said
        assert b"20,000 records accepted" in said
    local.wait_delivered()
    assert {name: local.delivered(name) - count for name, count in before.items()} == {
        "billing": 40_000,
        "archive": 40_000,
    }


def test_what_is_refused_is_told_by_line_and_the_rest_arrives(local: Local, tmp_path: Path) -> None:
    before = local.delivered("archive")
    lines = events(10, "some-bad").splitlines()
    lines[3] = lines[3].replace(b'"specversion": "1.0"', b'"specversion": "9.9"')
    lines[7] = b"{}"
    file = tmp_path / "bad.ndjson"
    file.write_bytes(b"\n".join(lines))
    for url in (local.state()["http"], local.state()["zeromq"]):
        done = subprocess.run(
            [*METERFABRIC, "send", "--url", url, str(file)], check=False, capture_output=True, timeout=60
        )
        assert done.returncode == 1
        assert done.stdout.startswith(b"8 records accepted")
        told = done.stderr.decode()
        assert f"refused: {file}:4: specversion: " in told
        assert f"refused: {file}:8: " in told
    local.wait_delivered()
    # The second time all of them are known already.
    assert local.delivered("archive") - before == 8


def test_one_record_is_proven_with_our_tools_and_with_others(local: Local, tmp_path: Path) -> None:
    command("send", "--url", local.state()["http"], "-", stdin=events(500, "proven"))
    local.wait_delivered()
    for name, url in local.sinks().items():
        out = tmp_path / name
        command("prove", "--sink", url, "--source", "//meter", "--id", "proven-321", "--out", out)
        assert command("verify", out, "--trust", local.trust).endswith("holds\n")
        assert json.loads((out / "record.json").read_bytes())["data"] == {"value": 321}
        shown = verify_proof(out, local.trust, tmp_path)
        assert shown.sink == f"spiffe://demo.example/fabric/metering.demo/sink/{name}"
        altered = (out / "record.json").read_bytes().replace(b"321", b"322")
        (out / "record.json").write_bytes(altered)
        assert command("verify", out, "--trust", local.trust, code=1).startswith("DOES NOT HOLD")


def test_the_file_sink_is_read_by_jq_and_by_duckdb(local: Local) -> None:
    command("send", "--url", local.state()["http"], "-", stdin=events(1_000, "read"))
    local.wait_delivered()
    segments = sorted((local.folder / "sinks" / "archive").glob("*.ndjson"))
    wanted = 'select(.id | startswith("read-")) | .data.value'
    found = subprocess.run(["jq", wanted, *map(str, segments)], stdout=subprocess.PIPE, check=True).stdout
    assert sorted(map(int, found.split())) == list(range(1_000))
    where = str(local.folder / "sinks" / "archive" / "*.ndjson")
    with duckdb.connect() as database:
        rows = database.execute(
            "SELECT subject, count(*), sum(data.value) FROM read_ndjson_auto(?) WHERE id LIKE 'read-%' GROUP BY 1",
            [where],
        ).fetchall()
    assert sorted(rows) == [(f"customer-{n}", 200, sum(range(n, 1_000, 5))) for n in range(5)]


def test_a_record_is_erased_from_a_running_sink(local: Local) -> None:
    command("send", "--url", local.state()["http"], "-", stdin=events(10, "erased"))
    local.wait_delivered()
    for url in local.sinks().values():
        command("erase", "--sink", url, "--source", "//meter", "--id", "erased-4", "--reason", "asked for")
        command("erase", "--sink", url, "--source", "//meter", "--id", "erased-4", code=1)
    for name in local.sinks():
        found = local.audit(name)
        assert found["whole"]
        assert sum(producer["records"]["erased"] for producer in found["producers"]) == 1
    command("send", "--url", local.state()["http"], "-", stdin=events(10, "after-erasing"))
    local.wait_delivered()
    assert local.audit("archive")["whole"]


def test_the_status_names_every_process(local: Local) -> None:
    said = command("status", "--dir", local.folder)
    for name in ("sidecar", "relay-0", "relay-1", "sink billing worker-0", "sink archive worker-0"):
        assert name in said
    assert local.state()["http"] in said


def test_a_folder_and_a_port_are_one_commands(local: Local, tmp_path: Path) -> None:
    yaml = tmp_path / "fabric.yaml"
    yaml.write_text(fabric_yaml(("billing", "{sqlite: {}}")))
    port = local.state()["http"].rpartition(":")[2]
    for folder, chosen, said in (
        (local.folder, "0", "already; stop that one first"),
        (tmp_path / "other", port, f"--port {port}"),
    ):
        done = subprocess.run(
            [*METERFABRIC, "local", "--fabric", str(yaml), "--dir", str(folder), "--port", chosen],
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert said in done.stderr.decode()


def test_a_second_start_goes_on_and_nothing_outlives_its_parent(tmp_path: Path) -> None:
    with running(fabric_yaml(("billing", "{sqlite: {}}"), relays=1), tmp_path) as local:
        command("send", "--url", local.state()["zeromq"], "-", stdin=events(2_000, "first"))
        assert local.stop(signal.SIGINT) == 0
        assert local.delivered("billing") == 2_000
        assert command("status", "--dir", local.folder, code=1).startswith("fabric metering.demo is stopped")
        local.start()
        command("send", "--url", local.state()["http"], "-", stdin=events(2_000, "second"))
        children = [each["pid"] for each in local.state()["processes"]]
        local.kill()
        wait_until("all children are gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        local.start()
        local.wait_delivered()
        assert local.delivered("billing") == 4_000
        assert local.stop() == 0
        found = local.audit("billing")
        (producer,) = found["producers"]
        # Each clean start is a log of its own, the one after the kill goes on.
        assert len(producer["logs"]) == 2
        assert all(log["closed"] for log in producer["logs"])
