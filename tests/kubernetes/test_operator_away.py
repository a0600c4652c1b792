"""The operator is away: what it had made goes on and comes back by itself; what is deleted meanwhile it makes again."""

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, Installed, is_ready
from tests.kubernetes.loads import Load, balanced
from tests.kubernetes.standing import OURS, children, delete_children, pods, scale_operator

pytestmark = pytest.mark.cluster


def test_pods_start_and_take_records_while_operator_relays_and_sinks_are_gone(installed: Installed) -> None:
    old, new = Load(installed, "away-old"), Load(installed, "away-new")
    old.start()
    old.flows()
    before = set(children(installed))
    scale_operator(installed, 0)
    try:
        # Relays and sinks restart without it, and pods that are enrolled deliver.
        installed.kubectl("delete", "pods", "-n", METERING, "-l", OURS, "--wait=true")
        new.start()
        old.flows("records flow through relays and sinks that started without the operator")
        # A pod that starts now is given its sidecar, but no certificate.
        new.is_accepted("a pod that started without the operator is served")
        assert new.delivered() == 0
        delete_children(installed, [each for each in before if each[0] in ("Deployment", "Service")])
        until("neither relay nor sink runs", SECONDS, lambda: not pods(installed, "relay") | pods(installed, "sink"))
        old.is_accepted("records are accepted without anybody to deliver them to")
    finally:
        scale_operator(installed, 2)
    until("all is there again", SECONDS, lambda: set(children(installed)) == before)
    old.flows()
    new.flows()
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    assert old.arrives_once()
    assert new.arrives_once()
    balanced(installed, old.source, new.source)
