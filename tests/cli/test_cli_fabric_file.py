"""The YAML of `local`: what is wrong is told by file, object, field and value; what is right becomes settings."""

from pathlib import Path

import msgspec
import pytest
import yaml

from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.objects import read_objects
from meterfabric_cli.local_fabric.plan import ProcessPlan, plan, sink_entries
from meterfabric_protocol.names import Producer
from meterfabric_relay.settings import Settings as RelaySettings
from meterfabric_runtime.settings import load
from meterfabric_sidecar.settings import Settings as SidecarSettings
from meterfabric_sink.settings import Settings as SinkSettings
from tests.cli.running import Command

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fabric.yaml"
FABRIC = """\
apiVersion: meterfabric.io/v1alpha1
kind: MeteringFabric
metadata: {name: demo, namespace: metering}
"""
SINK = """\
---
apiVersion: meterfabric.io/v1alpha1
kind: MeteringSink
metadata: {name: billing, namespace: metering}
spec: {fabric: demo, destination: {sqlite: {}}}
"""
PRODUCER = Producer("demo.example", "metering.demo", "local", "default", "machine", "1-2-3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not YAML"),
        ("\x07", "not YAML"),
        ("- 1", "document 1 is no object"),
        ("", "0 MeteringFabric objects"),
        (FABRIC, "no MeteringSink object"),
        (SINK, "0 MeteringFabric objects"),
        (FABRIC + "---\n" + FABRIC + SINK, "2 MeteringFabric objects"),
        (FABRIC + SINK + SINK, "MeteringSink billing: metadata.name: stands twice"),
        (FABRIC + SINK.replace("fabric: demo", "fabric: other"), "spec.fabric: is metering.other"),
        (FABRIC + SINK.replace("namespace: metering", "namespace: b"), "spec.fabric: is b.demo"),
        (FABRIC + SINK.replace("sqlite: {}", ""), "spec.destination: exactly one of file, sqlite, postgres"),
        (FABRIC + SINK.replace("sqlite", "excel"), "spec.destination"),
        (FABRIC + SINK.replace("sqlite: {}", "postgres: {secretRef: {name: db}}"), "no Secret here; write url"),
        (FABRIC + SINK.replace("v1alpha1", "v9"), "apiVersion: is 'meterfabric.io/v9'"),
        (FABRIC + "spec: {relay: {replicas: 0}}\n" + SINK, "spec.relay.replicas"),
        (FABRIC + "spec: {delivery: {drain: soon}}\n" + SINK, "spec.delivery.drain"),
        (FABRIC + "spec: {sidecar: {spool: {quota: 1Ki}}}\n" + SINK, "spec.sidecar.spool.quota: is 1Ki"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_in_one_line(
    text: str, said: str, tmp_path: Path, meterfabric: Command
) -> None:
    file = tmp_path / "fabric.yaml"
    file.write_text(text)
    done = meterfabric("local", "--fabric", file, "--dir", tmp_path / "run")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"meterfabric: {file}: ")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_other_words_that_are_wrong_are_told_in_one_line(tmp_path: Path, meterfabric: Command) -> None:
    for words, said in (
        (("--fabric", tmp_path / "none", "--dir", tmp_path), "No such file"),
        (("--fabric", EXAMPLE, "--dir", EXAMPLE), "--dir: "),
        (("--fabric", EXAMPLE, "--dir", tmp_path, "--port", "66666"), "'66666' is no port from 0 to 65534"),
        (("--fabric", EXAMPLE), "--dir"),
    ):
        done = meterfabric("local", *words)
        assert done.code == 2
        assert said in done.err
        assert done.err.count("\n") == 1


def made(tmp_path: Path, port: int = 8280) -> list[ProcessPlan]:
    return plan(read_objects(EXAMPLE), Layout(tmp_path), PRODUCER, "k" * 40, port)


def test_the_example_takes_a_sidecar_its_relays_and_a_worker_a_sink(tmp_path: Path) -> None:
    plans = made(tmp_path)
    assert [(each.component, str(each.config.relative_to(tmp_path))) for each in plans] == [
        ("sidecar", "sidecar/sidecar.json"),
        ("relay", "relay-0/relay-0.json"),
        ("relay", "relay-1/relay-1.json"),
        ("sink", "sinks/billing/worker-0.json"),
        ("sink", "sinks/archive/worker-0.json"),
    ]


def test_every_component_takes_its_settings(tmp_path: Path) -> None:
    kinds = {"sidecar": SidecarSettings, "relay": RelaySettings, "sink": SinkSettings}
    for each in made(tmp_path):
        file = tmp_path / "settings.json"
        file.write_bytes(msgspec.json.encode(each.settings))
        settings = load(kinds[each.component], each.component, file=file, environ={})
        assert settings.ready_file == each.ready


def test_zeromq_listens_one_above_http_and_anywhere_where_http_does(tmp_path: Path) -> None:
    assert [made(tmp_path, port)[0].settings["zmq_port"] for port in (8280, 9000)] == [8281, 9001]


def test_sinks_are_owed_what_their_objects_say(tmp_path: Path) -> None:
    assert sink_entries(read_objects(EXAMPLE)) == [
        {"name": "billing", "required": True, "when_full": "refuse", "expiry": 604_800.0},
        {"name": "archive", "required": False, "when_full": "expire-oldest", "expiry": 604_800.0},
    ]
    file = tmp_path / "fabric.yaml"
    sink = SINK.replace("destination", "whenFull: ExpireOldest, destination")
    file.write_text(FABRIC + "spec: {delivery: {expiry: Never}}\n" + sink)
    assert sink_entries(read_objects(file)) == [
        {"name": "billing", "required": True, "when_full": "expire-oldest", "expiry": None}
    ]


def test_a_postgres_sink_has_as_many_workers_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / "fabric.yaml"
    documents = [*yaml.safe_load_all(FABRIC + SINK)]
    documents[1]["spec"] |= {"destination": {"postgres": {"url": "postgresql://db/usage"}}, "workers": 3}
    file.write_text(yaml.safe_dump_all(documents))
    workers = [
        each for each in plan(read_objects(file), Layout(tmp_path), PRODUCER, "k" * 40, 0) if each.component == "sink"
    ]
    assert [each.settings["worker"] for each in workers] == ["billing-0", "billing-1", "billing-2"]
    assert {each.settings["url"] for each in workers} == {"postgresql://db/usage"}
