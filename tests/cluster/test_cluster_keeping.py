"""Clusters come up for people and for runs of tests, and go without a trace whatever becomes of those."""

import os
import subprocess
import sys

import pytest

from tests.cluster import cluster
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import assert_nothing_is_left
from tests.cluster.plan import make_plan
from tests.cluster.pods import SECONDS, VERSION
from tests.cluster.wait import until

pytestmark = pytest.mark.cluster

# A run of tests that makes a cluster with a pod, says so and is then killed.
RUN = f"""
import json, sys
from tests.cluster import cluster, images
with cluster.temporary("killed", {VERSION!r}, 1, lambda line: None) as made:
    image = images.helper_image(made.programs["helper"])
    made.kubectl("run", "pod", f"--image={{image}}", "--", "init")
    made.kubectl("wait", "pod/pod", "--for=condition=Ready", "--timeout={SECONDS}s")
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("when", ["a machine is made", "a pod runs"])
def test_a_cluster_that_a_killed_run_left_is_removed_by_the_next(when: str) -> None:
    with subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        plan = make_plan(f"killed-{run.pid}", VERSION)
        if when == "a pod runs":
            assert run.stdout is not None
            assert run.stdout.readline() == "up\n"
        else:
            until("the run has made a machine", SECONDS, (plan.folder / "node-1" / "logs").exists)
        run.kill()
    cluster.sweep(print)
    assert_nothing_is_left(plan)


def test_people_bring_one_up_and_take_it_away(kubernetes: Cluster) -> None:
    name = f"people-{os.getpid()}"
    try:
        assert "up in " in people("up", f"--name={name}", f"--version={VERSION}")
        kubeconfig = people("kubeconfig", f"--name={name}").strip()
        kubectl = [str(kubernetes.programs["kubectl"]), f"--kubeconfig={kubeconfig}"]
        ready = subprocess.run([*kubectl, "get", "nodes", "--no-headers"], capture_output=True, text=True, check=True)
        assert ready.stdout.split()[:2] == ["node-1", "Ready"]
        assert f"{name}: Kubernetes {VERSION}, 1 node(s), for people" in people("status")
    finally:
        people("down", f"--name={name}")
    assert name not in people("status")
    assert_nothing_is_left(make_plan(name, VERSION))


def people(*arguments: str) -> str:
    """What the command line said."""
    command = [sys.executable, "-m", "tests.cluster", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout
