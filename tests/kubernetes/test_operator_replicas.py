"""Two replicas of the operator: one acts; killed, another takes over; frozen, it never writes what it had decided."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.cluster import containers
from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SYSTEM, Installed, is_ready
from tests.kubernetes.standing import OPERATOR, children, delete_children, holder, scale_operator
from tests.kubernetes.written import writes_by_others

pytestmark = pytest.mark.cluster


@pytest.fixture
def leader(installed: Installed) -> Iterator[str]:
    """The replica that acts, of two that run. After the test all are as they were, and nobody wrote who wasn't to."""
    until("a replica acts", SECONDS, lambda: holder(installed))
    # What Kubernetes says of one that was killed is old news where the kubelet was away.
    replicas = installed.names("pod", SYSTEM, OPERATOR)
    assert len(replicas) == 2
    until("both run", SECONDS, lambda: all(processes(installed, each) for each in replicas))
    yield holder(installed)
    scale_operator(installed, 2)
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    assert not writes_by_others(installed.kubernetes)


def processes(installed: Installed, pod: str) -> list[int]:
    """The operator's processes in a pod, by their ids on this machine."""
    (node,) = installed.kubernetes.plan.workers
    return containers.processes(node, installed.get("pod", pod, SYSTEM) or {"status": {}}, "operator")


def test_another_replica_takes_over_from_one_that_is_killed_on_a_node_that_says_nothing(
    installed: Installed, leader: str
) -> None:
    (node,) = installed.kubernetes.plan.workers
    installed.kubernetes.stop("kubelet", node)
    try:
        for process in processes(installed, leader):
            os.kill(process, signal.SIGKILL)
        until("another one acts", SECONDS, lambda: holder(installed) not in ("", leader))
        installed.kubectl("delete", "poddisruptionbudget", "demo-relay", "-n", METERING)
        until("and does", SECONDS, lambda: installed.get("poddisruptionbudget", "demo-relay", METERING))
    finally:
        installed.kubernetes.start("kubelet", node)


def test_a_replica_that_was_frozen_past_its_lease_writes_nothing(installed: Installed, leader: str) -> None:
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    (node,) = installed.kubernetes.plan.workers
    before = children(installed)
    frozen = processes(installed, leader)
    assert frozen
    installed.kubernetes.stop("kubelet", node)  # which would kill what doesn't answer, and start another in its place
    try:
        delete_children(installed, before)  # so that it stands still amid its work
        for process in frozen:
            os.kill(process, signal.SIGSTOP)
        until("another one acts", SECONDS, lambda: holder(installed) not in ("", leader))
        delete_children(installed, children(installed))  # so that it finds much to do when it goes on
        until("all is there again", SECONDS, lambda: set(children(installed)) == set(before))
        assert processes(installed, leader) == frozen
    finally:
        for process in frozen:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        installed.kubernetes.start("kubelet", node)
    until("it has noticed", SECONDS, lambda: "acts no longer" in installed.said_by("operator", leader, SYSTEM))
    delete_children(installed, children(installed))
    until("all is there once more", SECONDS, lambda: set(children(installed)) == set(before))
