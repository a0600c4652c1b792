"""A fabric that is changed while records flow: relays and workers replaced; a CronJob beside."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed, is_ready
from tests.kubernetes.loads import Load, accepted, arrived_once, balanced, sending, unique
from tests.kubernetes.standing import pods

pytestmark = pytest.mark.cluster

CRON = unique("cron")


@pytest.fixture(scope="module")
def steady(installed: Installed) -> Iterator[Load]:
    """Load that flows through all tests of this module, and a CronJob that runs every minute."""
    load = Load(installed, "steady")
    load.start()
    cron = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": CRON, "namespace": SHOP},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": sending(installed, CRON, 0, 100)}},
        },
    }
    installed.apply(cron)
    load.flows()
    yield load
    installed.kubectl("delete", "cronjob", CRON, "-n", SHOP, "--ignore-not-found", "--wait=false")
    load.arrives_once()
    balanced(installed, load.source)


def patch(installed: Installed, kind: str, name: str, spec: dict[str, object]) -> None:
    text = json.dumps({"spec": spec})
    installed.kubectl("patch", kind, name, "-n", METERING, "--type=merge", "-p", text)


@pytest.mark.parametrize(
    ("component", "kind", "name", "change"),
    [
        ("relay", "meteringfabric", "demo", {"relay": {"resources": {"cpu": "110m"}}}),
        ("sink", "meteringsink", "billing", {"resources": {"cpu": "260m"}}),
    ],
)
def test_what_is_rolled_under_load_loses_and_doubles_nothing(
    installed: Installed, steady: Load, component: str, kind: str, name: str, change: dict[str, object]
) -> None:
    until("the fabric is settled", SECONDS, lambda: is_ready(installed))
    before = pods(installed, component)
    patch(installed, kind, name, change)

    def replaced() -> bool:
        now = pods(installed, component)
        return len(now) == len(before) and not set(now) & set(before)

    until(f"every {component} is another", SECONDS, replaced)
    steady.flows()
    steady.arrived_once_so_far()


def test_a_cron_jobs_pods_end_and_all_their_records_arrive(installed: Installed, steady: Load) -> None:
    def done() -> list[str]:
        listed = json.loads(installed.kubectl("get", "jobs", "-n", SHOP, "-o", "json"))["items"]
        owned = [each for each in listed if each["metadata"].get("ownerReferences", [{}])[0].get("name") == CRON]
        return [each["metadata"]["name"] for each in owned if each["status"].get("succeeded")]

    until("one of its jobs is done", SECONDS, done)
    # No further one begins, and those that did end.
    installed.kubectl("patch", "cronjob", CRON, "-n", SHOP, "-p", '{"spec": {"suspend": true}}')
    until("all are done", SECONDS, lambda: not (installed.get("cronjob", CRON, SHOP) or {})["status"].get("active"))
    names = installed.names("pod", SHOP, f"load={CRON}")
    assert names
    assert arrived_once(installed, CRON, [each for name in names for each in accepted(installed, name)])
    balanced(installed, CRON)
