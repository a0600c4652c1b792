"""`make demo`, as a user runs it: in a cluster of its own, again, and in the current context's with a registry.

What it leaves is then looked at: the usage that real pods have, billed once.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster
from tests.cluster.cluster import Cluster
from tests.cluster.wait import until
from tests.kubernetes.installed import SECONDS

pytestmark = [pytest.mark.cluster, pytest.mark.long]

DEMO = Path(__file__).resolve().parents[2] / "examples" / "kube-usage" / "demo.py"
AGENT = "//node-1/kubelet"
SUMS = """
SELECT count(*), sum((data->>'cpu_core_seconds')::float),
       sum(extract(epoch FROM (data->>'interval_end')::timestamptz - (data->>'interval_start')::timestamptz))
FROM meterfabric.records WHERE subject = 'shop/checkout'
"""
OVERLAPS = """
SELECT count(*) FROM (
  SELECT (data->>'interval_start')::timestamptz AS start,
         lag((data->>'interval_end')::timestamptz) OVER (PARTITION BY subject ORDER BY data->>'interval_end') AS before
  FROM meterfabric.records WHERE origin = '{origin}') AS intervals
WHERE start < before
"""
GAPS = """
SELECT count(*) FROM (
  SELECT data->>'interval_start' AS start,
         lag(data->>'interval_end') OVER (ORDER BY data->>'interval_end') AS before
  FROM meterfabric.records WHERE origin = '{origin}' AND subject = 'shop/checkout') AS intervals
WHERE start > before
"""


@pytest.fixture(scope="module")
def name(folder: Path) -> Iterator[str]:
    """Of the demo's cluster, which is taken down as a user would."""
    named = f"demo-{os.getpid()}"
    yield named
    demo(folder, "--name", named, "down")
    assert not [*Path("/run/netns").glob(f"mf_{named}_*")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(name: str, folder: Path) -> str:
    """What the first run said. A KUBECONFIG is set that leads to nothing: were it used, nothing would work."""
    return demo(folder, "--name", name, "up", KUBECONFIG=str(folder / "another"))


@pytest.fixture(scope="module")
def kubernetes(told: str, name: str) -> Cluster:
    return cluster.find(name, print)


def demo(folder: Path, *words: str, **environment: str) -> str:
    command = [sys.executable, str(DEMO), "--dir", str(folder / "kubernetes"), *words]
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    return done.stdout


def sql(kubernetes: Cluster, query: str) -> list[list[str]]:
    psql = ("psql", "-AtF", "\t", "-c", query)
    found = kubernetes.kubectl("exec", "-n", "metering", "deploy/database", "--", *psql)
    return [line.split("\t") for line in found.splitlines()]


def intervals(kubernetes: Cluster) -> int:
    return int(sql(kubernetes, SUMS)[0][0])


def test_it_ends_with_an_audit_a_proof_and_a_bill(told: str, folder: Path) -> None:
    assert "whole: every hash, signature and certificate verifies, every record is accounted for" in told
    assert "\n  holds\n" in told
    billed = {line.split("|")[1].strip() for line in told.splitlines() if line.startswith(" shop ")}
    assert billed == {"checkout", "search"}
    assert json.loads((folder / "kubernetes" / "proof" / "record.json").read_bytes())["subject"] == "shop/checkout"


def test_what_it_says_to_type_next_works(told: str, folder: Path) -> None:
    environment = folder / "kubernetes" / "env"
    assert f"  . {environment} " in told
    typed = f". {environment}; kubectl meterfabric status"
    done = subprocess.run(["sh", "-c", typed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "metering/main" in done.stdout


def test_what_a_pod_burns_arrives_as_its_usage(kubernetes: Cluster) -> None:
    def burnt() -> float:
        """Seconds of processor, as the kernel counts them for the pod's program (proc(5), /proc/pid/stat)."""
        stat = kubernetes.kubectl("exec", "-n", "shop", "checkout", "--", "cat", "/proc/1/stat").split()
        return (int(stat[13]) + int(stat[14])) / 100

    def billed(since: str) -> tuple[int, float, float]:
        count, cpu, seconds = sql(kubernetes, f"{SUMS} AND data->>'interval_start' >= '{since}'")[0]
        return int(count), float(cpu or 0), float(seconds or 0)

    until("usage arrived", SECONDS, lambda: intervals(kubernetes) >= 1)
    last = "SELECT max(data->>'interval_end') FROM meterfabric.records WHERE subject = 'shop/checkout'"
    ((since,),) = sql(kubernetes, last)
    before, began = burnt(), time.monotonic()
    until("more arrived", SECONDS, lambda: billed(since)[0] >= 6)
    used = (burnt() - before) / (time.monotonic() - began)
    _, cpu, seconds = billed(since)
    # Not the same half minute to the second, so not the same number.
    assert used / 2 < cpu / seconds < used * 2


def test_an_agent_that_is_restarted_goes_on_where_it_was_and_bills_nothing_twice(kubernetes: Cluster) -> None:
    before = intervals(kubernetes)
    (agent,) = kubernetes.kubectl("get", "pods", "-n", "kube-usage", "-o", "name").split()
    program = "import os, signal; os.kill(1, signal.SIGTERM)"
    kubernetes.kubectl("exec", "-n", "kube-usage", agent, "-c", "agent", "--", "python", "-c", program)
    until("it goes on", SECONDS, lambda: intervals(kubernetes) >= before + 4)
    found = json.loads(kubernetes.kubectl("get", "-n", "kube-usage", agent, "-o", "json"))
    assert [each["restartCount"] for each in found["status"]["containerStatuses"]] == [1]
    ((origin,),) = sql(kubernetes, f"SELECT DISTINCT origin FROM meterfabric.records WHERE source = '{AGENT}'")
    assert sql(kubernetes, OVERLAPS.format(origin=origin)) == [["0"]]
    assert sql(kubernetes, GAPS.format(origin=origin)) == [["0"]]


def test_repeated_it_uses_what_is_there(kubernetes: Cluster, name: str, folder: Path) -> None:
    def uids() -> str:
        selected = ("-l", "app.kubernetes.io/component=sink", "-o", "jsonpath={.items[*].metadata.uid}")
        return kubernetes.kubectl("get", "pods", "-n", "metering", *selected)

    before = uids()
    again = demo(folder, "--name", name, "up")
    assert "it has them" in again
    assert "whole: " in again
    assert uids() == before


def test_in_the_current_contexts_cluster_images_come_from_a_registry(
    kubernetes: Cluster, folder: Path, tmp_path: Path
) -> None:
    registry = kubernetes.run_registry(print)
    registries = tmp_path / "registries.conf"
    registries.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    environment = {
        "KUBECONFIG": str(kubernetes.plan.kubeconfig),
        "CONTAINERS_REGISTRIES_CONF": str(registries),
    }
    told = demo(folder, "--cluster", "current", "--registry", f"{registry}/me", "up", **environment)
    assert "whole: " in told

    def images() -> set[str]:
        said = kubernetes.kubectl("get", "pods", "-A", "-o", "jsonpath={.items[*].spec.containers[*].image}")
        return {image.rpartition("/")[0] for image in said.split()}

    until("those of before have ended", SECONDS, lambda: images() == {f"{registry}/me"})
    demo(folder, "--cluster", "current", "down", **environment)
    left = kubernetes.kubectl("get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert sorted(left) == ["default", "kube-node-lease", "kube-public", "kube-system"]


def test_a_namespace_that_is_somebodys_is_left_alone(kubernetes: Cluster, tmp_path: Path) -> None:
    kubernetes.kubectl("create", "namespace", "shop")
    environment = {**os.environ, "KUBECONFIG": str(kubernetes.plan.kubeconfig)}
    command = [sys.executable, str(DEMO), "--dir", str(tmp_path), "--cluster", "current"]
    command += ["--registry", "registry.example/me", "--tag", "1", "up"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "this cluster has shop already, which no demo made" in done.stderr
    assert not kubernetes.kubectl("get", "namespace", "meterfabric-system", "--ignore-not-found")
