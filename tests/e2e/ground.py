"""The ground of an afternoon: three nodes, the chart, a fabric with two sinks, and disks that outlive pods.

PostgreSQL's disk and the file sink's are local volumes of the first node, so both come back there with what they had.
PostgreSQL's is a small file system of its own that a fault can fill. The clients' own lists are files on the nodes.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import machine
from tests.cluster.plan import Machine
from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, SYSTEM, Installed, database, is_ready, kinds, namespace

LISTS = "accepted"
"""Below /var/lib of each node: a file a pod, which its client writes."""
DISK = "database"
"""Likewise PostgreSQL's, and below that the file that fills it."""
BILLING, ARCHIVE = "billing", "archive"
"""The sinks: PostgreSQL, and files in a folder of that name."""
RELAYS, WORKERS = 3, 2
_DISK_BYTES = 512 << 20
_HOST = "kubernetes.io/hostname"


@dataclass(frozen=True)
class Ground:
    """What faults are done to and what is measured."""

    installed: Installed

    @property
    def nodes(self) -> list[Machine]:
        """All of them."""
        return self.installed.kubernetes.plan.workers

    @property
    def keeper(self) -> Machine:
        """The node with the disks of both sinks."""
        return self.nodes[0]

    def node(self, name: str) -> Machine:
        """The node of that name."""
        return next(each for each in self.nodes if each.name == name)

    def folder(self, name: str, node: Machine | None = None) -> Path:
        """A folder below a node's /var/lib, as this machine sees it."""
        return (node or self.keeper).folder / "lib" / name

    @property
    def archive(self) -> Path:
        """The file sink's records, as this machine sees them."""
        return self.folder(ARCHIVE) / "records"

    def pods(self, where: str, selector: str) -> list[dict[str, Any]]:
        """Pods that aren't about to go."""
        listed = json.loads(self.installed.kubectl("get", "pods", "-n", where, "-l", selector, "-o", "json"))["items"]
        return [each for each in listed if "deletionTimestamp" not in each["metadata"]]


def lay(installed: Installed) -> Ground:
    """Install everything, until the fabric is ready."""
    ground = Ground(installed)
    for node in ground.nodes:
        _folder(ground, LISTS, node)
    _folder(ground, ARCHIVE)
    _folder(ground, DISK)
    mount = ("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=777", "tmpfs", f"/var/lib/{DISK}")
    machine.run(ground.keeper, mount)
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(METERING)))
    installed.apply(namespace(SHOP, **{"meterfabric.io/fabric": f"{METERING}.demo"}))
    installed.apply(_volume(ground, DISK, f"{METERING}/{DISK}"))
    installed.apply(_volume(ground, ARCHIVE, f"{METERING}/records-{ARCHIVE}-sink-0"))
    installed.apply(_claim(DISK), *_database(installed))
    installed.install()
    installed.apply(*_kinds())
    until("the fabric is ready", 2 * SECONDS, lambda: is_ready(installed))
    return ground


def _folder(ground: Ground, name: str, node: Machine | None = None) -> None:
    made = ground.folder(name, node)
    made.mkdir(exist_ok=True)
    made.chmod(0o777)


def _volume(ground: Ground, name: str, claim: str) -> dict[str, Any]:
    where, _, claimed = claim.partition("/")
    here = {"key": _HOST, "operator": "In", "values": [ground.keeper.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": f"/var/lib/{name}"},
            "claimRef": {"namespace": where, "name": claimed},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def _claim(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": METERING},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def _database(installed: Installed) -> list[dict[str, Any]]:
    """That of the other tests on a disk that stays; it notes when each transaction was committed."""
    made = database(installed)
    deployment = made[0]["spec"]
    deployment["strategy"] = {"type": "Recreate"}
    pod = deployment["template"]["spec"]
    pod["volumes"][0] = {"name": "data", "persistentVolumeClaim": {"claimName": DISK}}
    pod["containers"][0]["args"] = ["-c", "track_commit_timestamp=on", "-c", "max_wal_size=64MB"]
    return made


def _kinds() -> list[dict[str, Any]]:
    fabric, sink = kinds()
    fabric["spec"]["relay"]["replicas"] = RELAYS
    sink["spec"]["workers"] = WORKERS
    archive = json.loads(json.dumps(sink))
    archive["metadata"]["name"] = ARCHIVE
    archive["spec"] |= {"workers": 1, "destination": {"file": {}}}
    return [fabric, sink, archive]


def rest(ground: Ground) -> None:
    """Return once nothing is being replaced any more: every Deployment is whole, the fabric ready."""
    for where in (METERING, SHOP, SYSTEM):
        for name in ground.installed.names("deployment", where):
            until(f"{name} is whole", 3 * SECONDS, lambda name=name, where=where: _is_whole(ground, name, where))
    until("the fabric is ready", 3 * SECONDS, lambda: is_ready(ground.installed))


def _is_whole(ground: Ground, name: str, where: str) -> bool:
    try:
        ground.installed.kubectl("rollout", "status", f"deployment/{name}", "-n", where, "--watch=false")
        found = ground.installed.get("deployment", name, where) or {}
    except subprocess.CalledProcessError:
        return False
    wanted = found["spec"]["replicas"]
    return bool(found["status"].get("readyReplicas", 0) == wanted)
