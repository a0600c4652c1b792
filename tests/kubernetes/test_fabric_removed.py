"""A fabric that is deleted, a release that is uninstalled: they leave no orphans, and what people own stays."""

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, RELEASE, SECONDS, SYSTEM, Installed, is_ready, kinds
from tests.kubernetes.standing import OURS, children

pytestmark = pytest.mark.cluster


def test_a_fabric_that_is_deleted_leaves_its_keys_and_nothing_else(installed: Installed) -> None:
    bundle = installed.get("configmap", "demo-trust", METERING)
    installed.kubectl("delete", "meteringsink", "billing", "-n", METERING)
    installed.kubectl("delete", "meteringfabric", "demo", "-n", METERING, f"--timeout={SECONDS}s")
    until("nothing else is left", SECONDS, lambda: set(children(installed)) == {("ConfigMap", METERING, "demo-trust")})
    assert set(installed.names("secret", METERING, OURS)) == {"demo-authority", "demo-history", "demo-relay"}
    installed.apply(*kinds())
    until("the same fabric is ready again", SECONDS, lambda: is_ready(installed))
    again = installed.get("configmap", "demo-trust", METERING)
    assert bundle is not None
    assert again is not None
    assert again["data"] == bundle["data"]


def test_an_uninstalled_release_leaves_no_orphans_and_what_people_own(installed: Installed) -> None:
    installed.helm("uninstall", RELEASE, "-n", SYSTEM, "--wait", "--timeout", f"{SECONDS}s")
    assert set(children(installed)) == {("ConfigMap", METERING, "demo-trust")}
    assert "demo-authority" in installed.names("secret", METERING)
    assert installed.get("meteringfabric", "demo", METERING) is not None
    for kind in ("mutatingadmissionpolicies", "validatingadmissionpolicies", "clusterroles", "clusterrolebindings"):
        left = installed.kubectl("get", kind, "-o", "name", "-l", "app.kubernetes.io/part-of=meterfabric")
        assert not left.strip(), left
    installed.install()
    until("installed again, it goes on", SECONDS, lambda: is_ready(installed))
