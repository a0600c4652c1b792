"""An operator that serves listed namespaces, on a real cluster: the whole way, with rights there only."""

from collections.abc import Iterator

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, RELEASE, SECONDS, SHOP, SYSTEM, Installed, is_ready, pod
from tests.kubernetes.standing import injects

pytestmark = pytest.mark.cluster

LISTED = ("--set", f"namespaces.fabrics={{{METERING}}}", "--set", f"namespaces.producers={{{SHOP}}}")


@pytest.fixture
def listed(installed: Installed) -> Iterator[Installed]:
    """Installed so, in place of an operator for every namespace, which comes back."""
    uninstall(installed)
    installed.install(*LISTED)
    yield installed
    uninstall(installed)
    installed.install()
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))


def uninstall(installed: Installed) -> None:
    installed.helm("uninstall", RELEASE, "-n", SYSTEM, "--wait", "--timeout", f"{SECONDS}s")


def test_records_arrive_and_nothing_that_the_operator_asks_is_refused(listed: Installed) -> None:
    made = pod(listed, "listed", 20)

    until("the policy acts", SECONDS, lambda: injects(listed, made))
    listed.apply(made)
    until("all records are in the database", SECONDS, lambda: listed.records("listed") == 20)
    until("the fabric is ready", SECONDS, lambda: is_ready(listed))
    operator = ("-n", SYSTEM, "-l", "app.kubernetes.io/component=operator", "--tail=-1")
    said = listed.kubectl("logs", *operator)
    assert '"this replica acts"' in said
    assert "Forbidden" not in said
