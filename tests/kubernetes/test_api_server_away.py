"""The API server is away for two minutes, under load."""

import subprocess
import time

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import IDENTITY_KINDS, SECONDS, Installed, is_ready
from tests.kubernetes.loads import Load, balanced
from tests.kubernetes.standing import children, delete_children, lease, settle
from tests.kubernetes.written import writes_by_others

pytestmark = [pytest.mark.cluster, pytest.mark.long]

AWAY = 120.0


def test_records_flow_without_the_api_server_and_everything_works_when_it_is_back(installed: Installed) -> None:
    load, late = Load(installed, "outage"), Load(installed, "after-outage")
    load.start()
    load.flows()
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    settle(installed)  # without the API server nobody is told where a new relay is
    before, held = replaceable(installed), lease(installed)
    installed.kubernetes.stop("kube-apiserver")
    try:
        back = time.monotonic() + AWAY
        while time.monotonic() < back:
            load.flows("records flow without the API server")
            time.sleep(1)
    finally:
        installed.kubernetes.start("kube-apiserver")
    until("the API server is ready", SECONDS, lambda: _answers(installed))
    # Before the operator has come back to it: what it didn't see go it must find out.
    delete_children(installed, before)
    until("the lease is renewed", SECONDS, lambda: lease(installed)["renewTime"] > held["renewTime"])

    def restored() -> bool:
        now = replaceable(installed)
        return set(now) == set(before) and not set(now.values()) & set(before.values())

    until("what was deleted is there again", SECONDS, restored)
    late.start(most=100)
    load.flows()
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    assert load.arrives_once()
    assert late.arrives_once() == 100
    balanced(installed, load.source, late.source)
    assert not writes_by_others(installed.kubernetes)


def replaceable(installed: Installed) -> dict[tuple[str, str, str], str]:
    """Children but identities, and but what pods belong to.

    Where a Deployment goes and comes while Kubernetes' own garbage collector hears nothing, it takes the new one's
    ReplicaSet for the old one's, and leaves the old pods for ever.
    """
    left = {"Deployment", "StatefulSet"}
    return {
        each: uid
        for each, uid in children(installed).items()
        if each[0].lower() not in IDENTITY_KINDS and each[0] not in left
    }


def _answers(installed: Installed) -> bool:
    try:
        return installed.kubectl("get", "--raw=/readyz") == "ok"
    except subprocess.CalledProcessError:
        return False
