"""The load: pods with injected sidecars, each of whose clients keeps a list of what it was told was accepted.

A client writes a record's name into its list before it asks for the first time, and again when it was told that the
record is accepted; until then it asks again, as any careful client does. The lists lie on the nodes' disks, so they
outlive the pods, and reading them costs the cluster nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.ground import LISTS, Ground
from tests.kubernetes.installed import SHOP, Installed

NAME = "producer"
PODS = 20
PAUSE = 1.5
"""Seconds between two records of a client."""
_ENOUGH = "enough"
_PROGRAM = """
import http.client, json, os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
pause, host, begun = float(sys.argv[1]), socket.gethostname(), time.time_ns()
headers = {"Content-Type": "application/cloudevents+json"}
connection = http.client.HTTPConnection("127.0.0.1", 8280, timeout=10)
kept = open(f"/lists/{host}", "a", buffering=1)
number = 0
while not os.path.exists("/lists/enough"):
    name = f"{host}-{begun}-{number}"
    event = {"specversion": "1.0", "id": name, "source": host, "type": "usage", "data": {"n": number}}
    print("asked", name, time.time(), file=kept)
    while True:
        try:
            connection.request("POST", "/api/v1/events", json.dumps(event), headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 204:
                break
        except (OSError, http.client.HTTPException):
            connection.close()
        time.sleep(0.2)
    print("accepted", name, time.time(), file=kept)
    number += 1
    time.sleep(pause)
print("done", flush=True)
signal.pause()
"""


@dataclass(frozen=True)
class Lists:
    """All that clients wrote down: of each record the time, in seconds of this machine's clock."""

    asked: dict[str, float] = field(default_factory=dict)
    accepted: dict[str, float] = field(default_factory=dict)


def pod_of(record: str) -> str:
    """The pod whose client named a record so."""
    return record.rsplit("-", 2)[0]


def template(installed: Installed) -> dict[str, Any]:
    """A producer's metadata and spec."""
    container = {
        "name": "meter",
        "image": installed.dataplane,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", _PROGRAM, str(PAUSE)],
        "volumeMounts": [{"name": "lists", "mountPath": "/lists"}],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": NAME}},
    }
    return {
        "metadata": {"labels": {"meterfabric.io/inject": "true", "app": NAME}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "topologySpreadConstraints": [spread],
            "containers": [container],
            "volumes": [{"name": "lists", "hostPath": {"path": f"/var/lib/{LISTS}"}}],
        },
    }


def start(ground: Ground, pods: int = PODS) -> None:
    """Begin; it isn't waited for."""
    spec = {
        "replicas": pods,
        "selector": {"matchLabels": {"app": NAME}},
        "template": template(ground.installed),
    }
    metadata = {"name": NAME, "namespace": SHOP}
    ground.installed.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def finish(ground: Ground) -> None:
    """It is enough: clients send no more, and their pods stay."""
    for node in ground.nodes:
        (ground.folder(LISTS, node) / _ENOUGH).touch()


def leave(ground: Ground) -> None:
    """The pods go, and their sidecars close their logs."""
    ground.installed.kubectl("scale", f"deployment/{NAME}", "-n", SHOP, "--replicas=0")


def lists(ground: Ground) -> Lists:
    """What clients wrote down until now. A line that is being written is left out."""
    found = Lists()
    for line in _lines(ground):
        what, name, time = line.split()
        getattr(found, what)[name] = float(time)
    return found


def _lines(ground: Ground) -> Iterator[str]:
    for node in ground.nodes:
        for file in ground.folder(LISTS, node).iterdir():
            whole, _, _ = file.read_text().rpartition("\n")
            yield from whole.splitlines()


def counted(ground: Ground) -> int:
    """How many records were accepted."""
    return sum(line.startswith("accepted ") for line in _lines(ground))


def sending(ground: Ground) -> int:
    """How many of the pods that there are had a record accepted."""
    return len(addresses(ground).keys() & {pod_of(each) for each in lists(ground).accepted})


def addresses(ground: Ground) -> dict[str, str]:
    """Of each producer that has one, by its pod's name."""
    pods = ground.pods(SHOP, f"app={NAME}")
    return {each["metadata"]["name"]: each["status"]["podIP"] for each in pods if each["status"].get("podIP")}
