"""Load that remembers: a pod sends records, one a request, and says which were accepted; these the sink must hold once.

The pod asks again until a record is accepted, as any careful client does, and prints the record's id only then. So its
log is the client's own list, and it is compared with what PostgreSQL has: nothing lost, nothing doubled.
"""

import json
import secrets
import subprocess
import sys
from collections import Counter
from datetime import datetime
from typing import Any

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed
from tests.kubernetes.standing import injects

METERFABRIC = (sys.executable, "-m", "meterfabric_cli.main")
"""The command line of this tree."""
_ENOUGH = "/tmp/enough"
_PROGRAM = """
import http.client, json, os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
source, pause, most = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
headers = {"Content-Type": "application/cloudevents+json"}
connection = http.client.HTTPConnection("127.0.0.1", 8280, timeout=10)
number = 0
while number < most and not os.path.exists("/tmp/enough"):
    name = f"{socket.gethostname()}-{number}"
    event = {"specversion": "1.0", "id": name, "source": source, "type": "usage", "data": {"n": number}}
    try:
        connection.request("POST", "/api/v1/events", json.dumps(event), headers)
        answer = connection.getresponse()
        answer.read()
        accepted = answer.status == 204
    except (OSError, http.client.HTTPException):
        connection.close()
        accepted = False
    if accepted:
        number += 1
        print("accepted", name, flush=True)
    time.sleep(pause if accepted else 0.2)
print("done", flush=True)
"""
MANY = 20_000
"""Of a load whose test failed, that it ends by itself."""


def unique(name: str) -> str:
    """A name that nothing on the cluster has yet."""
    return f"{name}-{secrets.token_hex(3)}"


def sending(installed: Installed, source: str, pause: float, most: int) -> dict[str, Any]:
    """A pod's metadata and spec that sends records `pause` seconds apart until there were `most`, or it is enough."""
    container = {
        "name": "meter",
        "image": installed.dataplane,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", _PROGRAM, source, str(pause), str(most)],
    }
    return {
        "metadata": {"labels": {"meterfabric.io/inject": "true", "load": source}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [container]},
    }


class Load:
    """One pod that sends records. Its name is its source, and no other load's, also of a run before on this cluster."""

    def __init__(self, installed: Installed, name: str, where: str = SHOP) -> None:
        self.installed = installed
        self.source = unique(name)
        self.where = where
        self._most = MANY

    def start(self, pause: float = 0.05, most: int = MANY, **spec: Any) -> None:
        """Begin, once a pod gets a sidecar. `spec`: more of the pod's."""
        self._most = most
        made = sending(self.installed, self.source, pause, most)
        made["metadata"] |= {"name": self.source, "namespace": self.where}
        made["spec"] |= spec
        made |= {"apiVersion": "v1", "kind": "Pod"}
        until(f"{self.source} would get a sidecar", SECONDS, lambda: injects(self.installed, made))
        self.installed.apply(made)

    def accepted(self) -> list[str]:
        """The ids of the records that were accepted, as far as the pod has said."""
        return accepted(self.installed, self.source, self.where)

    def accepted_between(self, begin: datetime, end: datetime) -> int:
        """How many were accepted in that time, by the clock of the pod's node, which is this machine's."""
        said = self.installed.kubectl("logs", self.source, "-n", self.where, "-c", "meter", "--timestamps")
        times = [line.split(" ")[0] for line in said.splitlines() if " accepted " in line]
        return sum(begin < datetime.fromisoformat(f"{each[:26]}Z") < end for each in times)

    def delivered(self) -> int:
        """How many different ones the sink has."""
        return self.installed.records(self.source)

    def flows(self, what: str = "records flow") -> None:
        """Return once more has been delivered than there is now. Asks nothing of the API server."""
        before = self.delivered()
        until(what, SECONDS, lambda: self.delivered() > before)

    def is_accepted(self, what: str = "records are accepted") -> None:
        """Return once more has been accepted than there is now, delivered or not."""
        before = len(self.accepted())
        until(what, SECONDS, lambda: len(self.accepted()) > before)

    def end(self) -> None:
        """It is enough: the pod ends by itself, its sidecar after it, once all is delivered."""
        until(f"{self.source} sends", SECONDS, self.accepted)
        self.installed.kubectl("exec", self.source, "-n", self.where, "-c", "meter", "--", "touch", _ENOUGH)

    def arrived_once_so_far(self) -> None:
        """What was accepted until now gets to the sink, and nothing gets there twice."""
        wanted = set(self.accepted())
        until("all that was accepted is there", SECONDS, lambda: wanted <= set(self._held()))
        held = self._held()
        assert len(held) == len(set(held))

    def _held(self) -> list[str]:
        return [
            name for (name,) in self.installed.sql(f"SELECT id FROM meterfabric.records WHERE source = '{self.source}'")
        ]

    def arrives_once(self) -> int:
        """End it, unless it has an end, and hold the client's list against the sink's records; how many there are."""
        if self._most == MANY:
            self.end()
        until(
            f"{self.source} has ended", SECONDS, lambda: phase(self.installed, self.source, self.where) == "Succeeded"
        )
        return arrived_once(self.installed, self.source, self.accepted())


def accepted(installed: Installed, pod: str, where: str = SHOP) -> list[str]:
    """The ids that a pod of `sending` says were accepted; none where it has no log yet."""
    try:
        said = installed.kubectl("logs", pod, "-n", where, "-c", "meter")
    except subprocess.CalledProcessError:
        return []
    return [line.removeprefix("accepted ") for line in said.splitlines() if line.startswith("accepted ")]


def phase(installed: Installed, name: str, where: str = SHOP) -> str:
    """A pod's, empty where there is no such pod."""
    return str((installed.get("pod", name, where) or {}).get("status", {}).get("phase", ""))


def arrived_once(installed: Installed, source: str, wanted: list[str]) -> int:
    """Wait until the sink has each of the records, and no record twice, and none besides; how many there are.

    The books of the logs that they are in are balanced: all delivered, nothing pending, nothing unexplained.
    """
    assert wanted
    until(f"all of {source} is there", SECONDS, lambda: installed.records(source) >= len(wanted))
    held = Counter(name for (name,) in installed.sql(f"SELECT id FROM meterfabric.records WHERE source = '{source}'"))
    sent = Counter(wanted)
    assert not held - sent, "records that nobody had accepted, or twice"
    assert not sent - held, "records that were lost"
    origins = f"SELECT origin FROM meterfabric.records WHERE source = '{source}'"
    until("every log is heard to its end", SECONDS, lambda: _is_heard(installed, origins))
    return len(wanted)


def _is_heard(installed: Installed, origins: str) -> bool:
    query = f"SELECT bool_and(size = head_size AND stubbed = 0) FROM meterfabric.logs WHERE origin IN ({origins})"
    return installed.sql(query) == [["t"]]


def balanced(installed: Installed, *sources: str) -> None:
    """An audit of the whole sink finds everything whole, and of the producers of these sources nothing pending."""
    chosen = ", ".join(f"'{source}'" for source in sources)
    origins = {
        row[0] for row in installed.sql(f"SELECT DISTINCT origin FROM meterfabric.records WHERE source IN ({chosen})")
    }
    found = audit(installed)
    assert found["whole"], found["findings"]
    logs = {log["origin"]: log for producer in found["producers"] for log in producer["logs"]}
    for origin in origins:
        fates = {fate: count for fate, count in logs[origin]["records"].items() if count}
        assert set(fates) == {"delivered"}, (origin, fates)


def audit(installed: Installed) -> dict[str, Any]:
    """What `meterfabric audit` says of the sink."""
    held = installed.get("configmap", "demo-trust", METERING)
    assert held is not None
    trust = installed.kubernetes.plan.folder / "trust.pem"
    trust.write_text(held["data"]["trust.pem"])
    command = [*METERFABRIC, "audit", "--sink", installed.database_url(), "--trust", str(trust), "--json"]
    audited = subprocess.run(command, capture_output=True, text=True, check=False)
    assert audited.returncode in (0, 1), audited.stderr
    found: dict[str, Any] = json.loads(audited.stdout)
    return found
