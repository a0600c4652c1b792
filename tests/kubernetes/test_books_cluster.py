"""The books of a fabric on a real cluster: what pods killed with their disks leave is told, and never forgotten."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, URL, Installed, is_ready, kinds, namespace, pod
from tests.kubernetes.standing import remove_fabric

pytestmark = [pytest.mark.cluster, pytest.mark.long]

_NO = "no_more"
_COUNT = "SELECT count(*) FROM meterfabric.records"
NAME, SHOP = "ledger", "ledger-shop"
LONG = 3 * SECONDS
"""Sinks are asked once a minute, and a log must have been silent for one."""


@pytest.fixture(scope="module")
def ledger(installed: Installed) -> Iterator[Installed]:
    """A fabric of its own, since its books stay unbalanced, with a database of its own."""
    installed.sql(f"CREATE DATABASE {NAME}")
    fabric, sink = kinds()
    fabric["metadata"]["name"] = sink["metadata"]["name"] = sink["spec"]["fabric"] = NAME
    fabric["spec"]["relay"]["replicas"] = 1
    sink["spec"]["destination"]["postgres"]["secretRef"]["name"] = NAME
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": METERING},
        "stringData": {"url": URL.rpartition("/")[0] + f"/{NAME}"},
    }
    joined = namespace(SHOP, **{"meterfabric.io/fabric": f"{METERING}.{NAME}"})
    installed.apply(secret, fabric, sink, joined)
    until("the fabric is ready", SECONDS, lambda: is_ready(installed, name=NAME))
    yield installed
    installed.kubectl("delete", "namespace", SHOP, "--wait=true")
    remove_fabric(installed, NAME)
    installed.kubectl("delete", "secret", NAME, "-n", METERING)
    installed.sql(f"DROP DATABASE {NAME} WITH (FORCE)")


def status(installed: Installed) -> dict[str, Any]:
    found: dict[str, Any] = (installed.get("meteringfabric", NAME, METERING) or {}).get("status", {})
    return found


def books(installed: Installed) -> dict[str, Any]:
    found: dict[str, Any] = status(installed).get("books", {})
    return found


def balanced(installed: Installed) -> dict[str, Any]:
    return installed.condition("meteringfabric", NAME, METERING, "BooksBalanced")


def send(installed: Installed, name: str, first: int, count: int) -> None:
    """Have a pod that stays send records."""
    program = f"""
import json, urllib.request
for number in range({first}, {first + count}):
    event = {{"specversion": "1.0", "id": str(number), "source": "{name}", "type": "usage"}}
    headers = {{"Content-Type": "application/cloudevents+json"}}
    request = urllib.request.Request("http://127.0.0.1:8280/api/v1/events", json.dumps(event).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
"""
    installed.kubectl("exec", name, "-n", SHOP, "-c", "meter", "--", "python3", "-c", program)


def destroy(installed: Installed, name: str) -> None:
    installed.kubectl("delete", "pod", name, "-n", SHOP, "--grace-period=0", "--force")


def reconcile(installed: Installed, mode: str) -> None:
    patch = json.dumps({"spec": {"reconcile": mode}})
    installed.kubectl("patch", "meteringfabric", NAME, "-n", METERING, "--type=merge", "-p", patch)


def meterfabric(installed: Installed, *words: str) -> subprocess.CompletedProcess[str]:
    """`kubectl meterfabric …`"""
    program = "import sys; from meterfabric_cli.main import kubectl_plugin; sys.exit(kubectl_plugin())"
    environment = os.environ | {"KUBECONFIG": str(installed.kubernetes.plan.kubeconfig)}
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_books_are_balanced_while_everything_arrives_and_pods_close_their_logs(ledger: Installed) -> None:
    until("it says that there are no books, or none unbalanced", SECONDS, lambda: balanced(ledger))
    for name in ("closes", "stays"):
        ledger.apply(pod(ledger, name, 10, SHOP, then="time.sleep(3600)" if name == "stays" else ""))
    until("they are told", LONG, lambda: books(ledger).get("delivered") == 20)
    assert (balanced(ledger)["status"], balanced(ledger)["reason"]) == ("True", "Balanced")
    assert books(ledger)["accepted"] == 20
    ledger.kubectl("delete", "pod", "closes", "stays", "-n", SHOP, "--wait=true")


def test_a_pod_killed_with_its_disk_is_told_as_abandoned_and_never_as_balanced(ledger: Installed) -> None:
    """The database refuses the records of one pod, so the sink hears how many; of those of another no relay hears."""
    for name in ("refused", "cut-off"):
        ledger.apply(pod(ledger, name, 10, SHOP, then="time.sleep(3600)"))
    before = 40
    until("their records are there", SECONDS, lambda: ledger.sql(_COUNT, NAME) == [[str(before)]])
    ledger.sql(f"ALTER TABLE meterfabric.records ADD CONSTRAINT {_NO} CHECK (source <> 'refused') NOT VALID", NAME)
    send(ledger, "refused", 10, 12)
    until("the sink heard of them", LONG, lambda: books(ledger).get("pending") == 12)
    assert books(ledger)["delivered"] == before
    assert balanced(ledger)["status"] == "True"
    assert books(ledger)["oldestPending"] != "0s"
    reconcile(ledger, "Paused")
    relays = f"deployment/{NAME}-relay"
    until("it is paused", SECONDS, lambda: status(ledger)["conditions"][0]["reason"] == "Paused")
    ledger.kubectl("scale", relays, "-n", METERING, "--replicas=0")
    selector = f"meterfabric.io/fabric={METERING}.{NAME},app.kubernetes.io/component=relay"
    until("no relay runs", SECONDS, lambda: not ledger.names("pod", METERING, selector))
    send(ledger, "cut-off", 10, 7)
    destroy(ledger, "refused")
    destroy(ledger, "cut-off")
    ledger.sql(f"ALTER TABLE meterfabric.records DROP CONSTRAINT {_NO}", NAME)
    reconcile(ledger, "Active")
    until("the fabric is ready again", SECONDS, lambda: is_ready(ledger, name=NAME))
    until("both are told", LONG, lambda: books(ledger).get("unclosed") == 2)
    found = books(ledger)
    assert (found["delivered"], found["abandoned"], found["pending"], found["accepted"]) == (before, 12, 0, before + 12)
    by = {each["pod"]: each["records"] for each in found["abandonedBy"]}
    assert by == {f"{SHOP}/refused": 12, f"{SHOP}/cut-off": 0}
    assert (balanced(ledger)["status"], balanced(ledger)["reason"]) == ("False", "RecordsAbandoned")
    assert f"{SHOP}/refused (12)" in balanced(ledger)["message"]
    said = meterfabric(ledger, "status", "-n", METERING)
    assert said.returncode == 1
    assert f"pod {SHOP}/refused was gone before its log was closed, 12 records abandoned" in said.stdout
    told = json.loads(meterfabric(ledger, "status", "-n", METERING, "-o", "json").stdout)["fabrics"]
    (fabric,) = [each for each in told if each["name"] == NAME]
    assert fabric["books"] == found
    assert fabric["sinks"][0]["books"] == found
    events = json.loads(ledger.kubectl("get", "events.events.k8s.io", "-n", METERING, "-o", "json"))["items"]
    mine = [each["reason"] for each in events if each["regarding"].get("name") == NAME]
    assert (mine.count("Balanced"), mine.count("RecordsAbandoned")) == (1, 1)
