"""`kubectl meterfabric` against a fabric that runs: what it says, and what it fetches from where the records are."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed, pod
from tests.pki import Authority

pytestmark = pytest.mark.cluster

Command = Callable[..., subprocess.CompletedProcess[str]]
SOURCE, STAYS = "commands", "import time; time.sleep(3600)"


@pytest.fixture(scope="module")
def delivered(installed: Installed) -> Installed:
    """A pod whose 30 records have arrived, and that goes on living."""
    installed.apply(pod(installed, SOURCE, 30, then=STAYS))
    until("its records are there", SECONDS, lambda: installed.records(SOURCE) == 30)
    return installed


@pytest.fixture
def meterfabric(delivered: Installed, tmp_path: Path) -> Command:
    """`kubectl meterfabric …`, by kubectl itself."""
    folder = tmp_path / "bin"
    folder.mkdir()
    plugin = folder / "kubectl-meterfabric"
    program = "import sys; from meterfabric_cli.main import kubectl_plugin; sys.exit(kubectl_plugin())"
    plugin.write_text(f"#!{sys.executable}\n{program}\n")
    plugin.chmod(0o755)
    kubeconfig = str(delivered.kubernetes.plan.kubeconfig)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "KUBECONFIG": kubeconfig}
    kubectl = shutil.which("kubectl") or "kubectl"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [kubectl, "meterfabric", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


def test_status_says_what_is_ready(meterfabric: Command) -> None:
    done = meterfabric("status")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [f"{METERING}/demo", "True", "2/2"] in [line[:3] for line in lines]
    assert [f"{METERING}/billing", "True", "postgres", "1/1"] in [line[:4] for line in lines]
    (fabric,) = json.loads(meterfabric("status", "-n", METERING, "-o", "json").stdout)["fabrics"]
    assert (fabric["name"], fabric["ready"], [sink["name"] for sink in fabric["sinks"]]) == (
        "demo",
        "True",
        ["billing"],
    )


def test_producers_asks_each_sidecar_how_far_it_is(meterfabric: Command) -> None:
    def told() -> dict[str, object]:
        said = json.loads(meterfabric("producers", "-n", SHOP, "-o", "json").stdout)["producers"]
        found: dict[str, object] = next(each for each in said if each["pod"] == SOURCE)
        return found

    until("the sidecar knows that all arrived", SECONDS, lambda: not told()["waiting"])
    found = told()
    assert (found["state"], found["fabric"], found["accepted"]) == ("delivering", f"{METERING}.demo", 30)


def test_a_pod_that_was_not_injected_is_told(delivered: Installed, meterfabric: Command) -> None:
    delivered.apply(pod(delivered, "astray", 0, "default", then=STAYS))
    try:
        done = meterfabric("producers", "-n", "default")
    finally:
        delivered.kubectl("delete", "pod", "astray", "-n", "default", "--wait=false")
    assert done.returncode == 1
    assert "no sidecar" in done.stdout
    assert "its namespace joined no fabric" in done.stdout


def test_a_sink_is_audited_beside_its_records(delivered: Installed, meterfabric: Command, tmp_path: Path) -> None:
    done = meterfabric("audit")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{SHOP}/{SOURCE}" in done.stdout
    assert "whole: every hash" in done.stdout
    # With a bundle that a person kept, and with one that is another fabric's.
    held = delivered.get("configmap", "demo-trust", METERING)
    assert held is not None
    trust = tmp_path / "trust.pem"
    trust.write_text(held["data"]["trust.pem"])
    audited = meterfabric("audit", f"{METERING}/billing", "--trust", str(trust), "-o", "json")
    assert json.loads(audited.stdout)["whole"]
    trust.write_bytes(Authority().pem)
    assert meterfabric("audit", "--trust", str(trust)).returncode == 1


def test_a_proof_is_fetched_and_verified_here(meterfabric: Command, tmp_path: Path) -> None:
    out = tmp_path / "proof"
    done = meterfabric("prove", "--source", SOURCE, "--id", "7", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nholds\n")
    assert json.loads((out / "record.json").read_bytes())["data"] == {"n": 7}
    none = meterfabric("prove", "--source", SOURCE, "--id", "none", "--out", str(tmp_path / "other"))
    assert none.returncode == 1
    assert "no record has source 'commands' and id 'none'" in none.stdout


def test_who_may_not_is_told_what_the_api_server_said(
    delivered: Installed, meterfabric: Command, tmp_path: Path
) -> None:
    token = delivered.kubectl("create", "token", "default", "-n", SHOP).strip()
    held = json.loads(delivered.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    held["users"] = [{"name": held["users"][0]["name"], "user": {"token": token}}]
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(held))
    for words in (["status"], ["producers", "-n", SHOP], ["audit"]):
        done = meterfabric(*words, "--kubeconfig", str(file))
        assert (done.returncode, done.stdout) == (2, "")
        assert "403" in done.stderr
        assert "system:serviceaccount:shop:default" in done.stderr
