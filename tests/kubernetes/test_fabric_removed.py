"""A fabric that is deleted, a release that is uninstalled: they leave no orphans, and what people own stays."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, RELEASE, SECONDS, SYSTEM, Installed, is_ready, kinds
from tests.kubernetes.loads import Load, balanced
from tests.kubernetes.standing import OURS, children

pytestmark = pytest.mark.cluster

KEPT = {
    ("ConfigMap", METERING, "demo-trust"),
    *(("Secret", METERING, name) for name in ("demo-authority", "demo-history", "demo-relay", "billing-sink")),
}
"""Who the fabric and its sink are: keys, and the roots by which their signatures are verified years later."""


@pytest.fixture(autouse=True)
def restored(installed: Installed) -> Iterator[None]:
    """Each test finds the fabric ready, also after one that failed."""
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    yield
    installed.install()
    installed.apply(*kinds())


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
    load = Load(installed, "uninstalled")
    load.start()
    load.flows()
    installed.helm("uninstall", RELEASE, "-n", SYSTEM, "--wait", "--timeout", f"{SECONDS}s")
    until("nothing but what is kept is left", SECONDS, lambda: labelled(installed) <= KEPT)
    assert labelled(installed) == KEPT
    assert "database" in installed.names("secret", METERING)
    assert installed.get("meteringfabric", "demo", METERING) is not None
    assert installed.get("meteringsink", "billing", METERING) is not None
    load.is_accepted("records are accepted by a sidecar whose fabric is gone")
    installed.install()
    until("installed again, it goes on", SECONDS, lambda: is_ready(installed))
    # A sidecar that ends waits half a minute for what it wasn't told yet: where relays are and whom to trust.
    load.flows("records of the sidecar that stayed flow again")
    assert load.arrives_once()
    balanced(installed, load.source)


def labelled(installed: Installed) -> set[tuple[str, str, str]]:
    """Kind, namespace and name of everything that bears our labels, whatever kind it is of.

    But the kinds themselves: another release installed them.
    """
    listed = ",".join(installed.kubectl("api-resources", "--verbs=list", "-o", "name").split())
    found = set()
    for label in ("app.kubernetes.io/part-of=meterfabric", OURS):
        for each in json.loads(installed.kubectl("get", listed, "-A", "-l", label, "-o", "json"))["items"]:
            found.add((each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]))
    return {each for each in found if each[0] != "CustomResourceDefinition"}
