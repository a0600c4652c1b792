"""The chart of the release before is upgraded to this one while records flow and its sidecars go on.

No release came before this one yet, so that one is made of this one: the chart under a lower version, the images under
other names, by which the operator, relays and sinks are really replaced and the old sidecars are really others.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.cluster import machine
from tests.cluster.node import CTR
from tests.cluster.wait import until
from tests.kubernetes.installed import RELEASE, ROOT, SECONDS, SHOP, SYSTEM, Installed, is_ready
from tests.kubernetes.loads import Load, balanced, sending
from tests.kubernetes.standing import pods

pytestmark = pytest.mark.cluster

BEFORE = "0.0.9"


@pytest.fixture
def before(installed: Installed, tmp_path: Path) -> Installed:
    """The release before, installed in place of this one."""
    renamed = []
    for name in (installed.dataplane, installed.operator):
        other = f"{name.rpartition(':')[0]}:{BEFORE}"
        for node in installed.kubernetes.plan.workers:
            ctr = [str(installed.kubernetes.programs["ctr"]), *CTR]
            machine.run(node, [*ctr, "images", "tag", "--force", name, other])
        renamed.append(other)
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    chart = tmp_path / "charts" / "meterfabric" / "Chart.yaml"
    kept = [line for line in chart.read_text().splitlines() if not line.startswith(("version:", "appVersion:"))]
    chart.write_text("\n".join([*kept, f"version: {BEFORE}", f"appVersion: {BEFORE}", ""]))
    made = dataclasses.replace(installed, dataplane=renamed[0], operator=renamed[1])
    made.install(charts=tmp_path / "charts")
    until("the fabric runs by it", SECONDS, lambda: runs(made))
    return made


def runs(release: Installed) -> bool:
    """Whether relays and sinks are all of this release, and the fabric is ready."""
    images = [*pods(release, "relay").values(), *pods(release, "sink").values()]
    return set(images) == {release.dataplane} and is_ready(release)


def sidecar(release: Installed, name: str) -> tuple[str, int]:
    """The image of a pod's sidecar, and how often it restarted."""
    found = release.get("pod", name, SHOP)
    assert found is not None
    (status,) = found["status"]["initContainerStatuses"]
    return found["spec"]["initContainers"][0]["image"], status["restartCount"]


def test_an_upgrade_under_load_loses_and_doubles_nothing(installed: Installed, before: Installed) -> None:
    old, new = Load(before, "upgrade-old"), Load(installed, "upgrade-new")
    old.start()
    old.flows()
    assert sidecar(before, old.source) == (before.dataplane, 0)
    installed.install()
    until("the fabric runs by the new release", SECONDS, lambda: runs(installed))
    (release,) = json.loads(installed.helm("list", "-n", SYSTEM, "--filter", RELEASE, "-o", "json"))
    assert release["chart"] != f"meterfabric-{BEFORE}"
    old.flows("records of the old sidecar flow through new relays and sinks")

    def injected() -> str:
        made = sending(installed, "nobody", 0, 1)
        metadata = {**made["metadata"], "name": "x", "namespace": SHOP}
        found = installed.dry({"apiVersion": "v1", "kind": "Pod", **made, "metadata": metadata})
        return str(found["spec"]["initContainers"][0]["image"])

    until("new pods get the new sidecar", SECONDS, lambda: injected() == installed.dataplane)
    new.start()
    new.flows()
    assert sidecar(before, old.source) == (before.dataplane, 0)
    assert old.arrives_once()
    assert new.arrives_once()
    balanced(installed, old.source, new.source)
