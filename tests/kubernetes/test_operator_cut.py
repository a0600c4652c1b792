"""The operator hears nothing of the API server for longer than a silent watch is kept, then everything again.

Only what the API server says is lost on the way, nobody is told that a connection is gone: such a watch stands still
for ever, unless somebody notices that it is too silent.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from meterfabric_operator.watching.handlers import INACTIVE
from tests.cluster.network import NAMESPACES
from tests.cluster.plan import API_PORT, CONTROL_ADDRESS
from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SYSTEM, Installed, is_ready
from tests.kubernetes.loads import Load, balanced
from tests.kubernetes.standing import OPERATOR, holder, lease
from tests.kubernetes.written import writes_by_others

pytestmark = pytest.mark.cluster


@contextmanager
def deaf(installed: Installed, addresses: list[str]) -> Iterator[None]:
    """Nothing that the API server says gets to pods with these addresses."""
    rules = [
        ["FORWARD", "-s", CONTROL_ADDRESS, "-p", "tcp", "--sport", str(API_PORT), "-d", address, "-j", "DROP"]
        for address in addresses
    ]
    for rule in rules:
        _iptables(installed, "--insert", *rule)
    try:
        yield
    finally:
        for rule in rules:
            _iptables(installed, "--delete", *rule)


def _iptables(installed: Installed, *arguments: str) -> None:
    for node in installed.kubernetes.plan.workers:
        command = ["nsenter", f"--net={NAMESPACES / node.namespace}", "iptables", "--wait", *arguments]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def page(port: int, name: str) -> tuple[bool, list[str]]:
    """What a probe of the operator answers: whether all is well, and why not."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
            said = json.load(answer)
    except HTTPError as error:
        said = json.load(error)
    return said["ok"], said["reasons"]


def test_what_changed_while_the_operator_heard_nothing_is_acted_upon_when_it_hears_again(installed: Installed) -> None:
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    until("a replica acts", SECONDS, lambda: holder(installed))
    pods = json.loads(installed.kubectl("get", "pods", "-n", SYSTEM, "-l", OPERATOR, "-o", "json"))["items"]
    addresses = [each["status"]["podIP"] for each in pods]
    ports = [installed.kubernetes.forward(f"{address}:8080") for address in addresses]
    load = Load(installed, "deaf")
    load.start()
    load.flows()
    with deaf(installed, addresses):
        begun = time.monotonic()
        installed.kubectl("delete", "poddisruptionbudget", "demo-relay", "-n", METERING)
        for port in ports:
            until("it says that it isn't ready", SECONDS, lambda port=port: not page(port, "readyz")[0])
            assert "the API server has not answered" in page(port, "readyz")[1][0]
        held = lease(installed)
        while time.monotonic() < begun + INACTIVE + 5:
            load.flows("records flow without the operator")
            time.sleep(1)
        # To start it again would help nobody.
        assert [page(port, "healthz") for port in ports] == [(True, [])] * len(ports)
        assert installed.get("poddisruptionbudget", "demo-relay", METERING) is None
        assert lease(installed) == held
    until("it acts", SECONDS, lambda: installed.get("poddisruptionbudget", "demo-relay", METERING))
    for port in ports:
        until("it is ready", SECONDS, lambda port=port: page(port, "readyz")[0])
    assert load.arrives_once()
    balanced(installed, load.source)
    assert not writes_by_others(installed.kubernetes)
