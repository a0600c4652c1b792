"""How `k8s audit` and `k8s prove` reach a sink."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from meterfabric_cli.errors import CommandError
from meterfabric_cli.in_cluster.sinks import chosen, command, failed, selector, url_key, worker


def sink(name: str = "billing", namespace: str = "metering", **destination: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"fabric": "main", "destination": destination or {"sqlite": {}}},
    }


def pod(name: str, *, ready: bool = True, running: bool = True, **metadata: Any) -> dict[str, Any]:
    state = {"running": {}} if running else {"waiting": {"reason": "CrashLoopBackOff"}}
    return {
        "metadata": {"name": name, **metadata},
        "status": {"containerStatuses": [{"name": "sink", "ready": ready, "state": state}]},
    }


def test_the_only_sink_needs_no_name() -> None:
    assert chosen([sink()], None, None) == sink()
    with pytest.raises(CommandError, match="no MeteringSink is there"):
        chosen([], None, None)
    with pytest.raises(CommandError, match=r"which one\? There are: metering/archive, metering/billing"):
        chosen([sink("archive"), sink()], None, None)


def test_a_sink_is_named_by_its_name_and_by_its_namespace_where_need_be() -> None:
    both = [sink(), sink(namespace="other")]
    assert chosen([*both, sink("archive")], "archive", None) == sink("archive")
    assert chosen(both, "other/billing", None) == both[1]
    assert chosen(both, "billing", "metering") == both[0]
    with pytest.raises(CommandError, match=r"no MeteringSink bilking\. There are: metering/billing, other/billing"):
        chosen(both, "bilking", None)


def test_a_worker_that_is_ready_comes_before_one_that_only_runs() -> None:
    assert selector(sink()) == "meterfabric.io/sink=billing,app.kubernetes.io/component=sink"
    assert worker(sink(), [pod("a", ready=False), pod("b")]) == "b"
    assert worker(sink(), [pod("a", ready=False), pod("b", deletionTimestamp="now")]) == "a"
    with pytest.raises(CommandError, match=r"no worker of the sink metering/billing runs; status tells why$"):
        worker(sink(), [pod("a", running=False)])
    with pytest.raises(CommandError, match="can be audited with --here"):
        worker(sink(postgres={"url": "postgresql://a"}), [])


@pytest.mark.parametrize("own", [None, b"-----BEGIN A BUNDLE-----\nx\n"])
def test_the_command_runs_on_the_workers_own_url(own: bytes | None, tmp_path: Path) -> None:
    (tmp_path / "meterfabric").write_text('#!/bin/sh\nprintf "%s|" "$@"\ncat "$6" 2>&1 || true\nexit 1\n')
    (tmp_path / "meterfabric").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "METERFABRIC_SINK_URL": "sqlite:/a b; true"}
    done = subprocess.run(
        command(["audit", "--json"], own), capture_output=True, env=environment, check=False, text=True
    )
    trust = "/etc/meterfabric/trust/trust.pem" if own is None else "/dev/stdin"
    words, _, said = done.stdout.rpartition("|")
    assert words.split("|") == ["audit", "--json", "--sink", "sqlite:/a b; true", "--trust", trust]
    assert done.returncode == 1
    assert own is None or said == own.decode()


def test_what_a_record_is_called_is_no_part_of_the_shells_language() -> None:
    call = command(["prove", "--source", "'; rm -rf $HOME #", "--id", "a b"])
    assert call[:2] == ["sh", "-c"]
    assert call[2].startswith("exec meterfabric prove --source ''\"'\"'; rm -rf $HOME #' --id 'a b' --sink ")


def test_a_bundle_too_long_to_be_sent_along_is_told() -> None:
    with pytest.raises(CommandError, match="audit with --here"):
        command(["audit"], b"x" * 100_000)


def test_a_command_that_failed_is_told_in_its_own_words_and_where() -> None:
    assert (
        str(failed(2, b"noise\nmeterfabric: --sink: away\n", "metering/billing-0"))
        == "metering/billing-0: --sink: away"
    )
    assert str(failed(2, b"", "x")) == "x: exit code 2"
    assert "needs more memory" in str(failed(137, b"", "x"))


def test_only_postgresql_is_read_from_here() -> None:
    assert url_key(sink(postgres={"url": "postgresql://a"})) == "postgresql://a"
    assert url_key(sink(postgres={"secretRef": {"name": "db"}})) == ("db", "url")
    assert url_key(sink(postgres={"secretRef": {"name": "db", "key": "k"}})) == ("db", "k")
    with pytest.raises(CommandError, match="a sqlite sink lies on its worker's volume"):
        url_key(sink())
