"""The images of the Dockerfile run in a cluster, as its strictest namespaces want it."""

import json
from typing import Any

import pytest

from tests.cluster import product
from tests.cluster.cluster import Cluster
from tests.cluster.pods import SECONDS, apply, output, pod
from tests.cluster.wait import until

pytestmark = pytest.mark.cluster

RECORDS = 1000
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LOOKS = """
import json, os, sys
from importlib.util import find_spec
packages = {name: find_spec(name) is not None for name in ("kopf", "zstandard", "pip")}
print(json.dumps({"user": [os.getuid(), os.getgid()], "compiler": os.path.exists("/usr/bin/gcc"), **packages}))
"""


@pytest.fixture(scope="module")
def loaded(kubernetes: Cluster) -> dict[str, str]:
    """The name of each of our images, which every node has."""
    kubernetes.kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted")
    made = {target: product.image(target, print) for target in product.targets()}
    for image in made.values():
        kubernetes.load_image(image.archive)
    return {target: image.name for target, image in made.items()}


@pytest.mark.parametrize(
    ("target", "program"),
    [
        ("dataplane", "meterfabric"),
        ("dataplane", "meterfabric-sidecar"),
        ("dataplane", "meterfabric-relay"),
        ("dataplane", "meterfabric-sink"),
        ("operator", "meterfabric-operator"),
    ],
)
def test_every_program_of_an_image_starts(
    kubernetes: Cluster, loaded: dict[str, str], target: str, program: str
) -> None:
    apply(kubernetes, restricted(kubernetes, f"starts-{program}", loaded[target], [program, "--help"]))
    assert output(kubernetes, f"starts-{program}").startswith("usage: ")


@pytest.mark.parametrize("target", ["dataplane", "operator"])
def test_an_image_is_not_roots_and_holds_what_its_programs_need(
    kubernetes: Cluster, loaded: dict[str, str], target: str
) -> None:
    apply(kubernetes, restricted(kubernetes, f"looks-{target}", loaded[target], ["python", "-c", LOOKS]))
    operator = target == "operator"
    assert json.loads(output(kubernetes, f"looks-{target}")) == {
        "user": [65532, 65532],
        "compiler": False,
        "kopf": operator,
        "zstandard": not operator,
        "pip": False,
    }


def test_a_whole_fabric_in_one_pod_delivers_what_it_is_sent_and_its_books_balance(
    kubernetes: Cluster, loaded: dict[str, str]
) -> None:
    fabric = (product.TREE / "examples" / "fabric.yaml").read_text()
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "whole"}, "data": {"fabric.yaml": fabric}}
    command = ["meterfabric", "local", "--fabric=/fabric/fabric.yaml", "--dir=/data/fabric"]
    described = restricted(kubernetes, "whole", loaded["dataplane"], command)
    described["spec"]["volumes"] = [
        {"name": "fabric", "configMap": {"name": "whole"}},
        {"name": "data", "emptyDir": {}},
    ]
    (container,) = described["spec"]["containers"]
    container["volumeMounts"] = [{"name": "fabric", "mountPath": "/fabric"}, {"name": "data", "mountPath": "/data"}]
    container["env"] = [{"name": "SQLITE_TMPDIR", "value": "/data"}]
    container["readinessProbe"] = {"exec": {"command": ["meterfabric", "status", "--dir=/data/fabric"]}}
    apply(kubernetes, settings, described)
    kubernetes.kubectl("wait", "pod/whole", "--for=condition=Ready", f"--timeout={SECONDS}s")

    run = ("exec", "--stdin", "whole", "--", "meterfabric")
    event = {"specversion": "1.0", "source": "/test", "type": "usage"}
    sent = "".join(json.dumps({**event, "id": str(number)}) + "\n" for number in range(RECORDS))
    kubernetes.kubectl(*run, "send", "--url=http://127.0.0.1:8280", "-", stdin=sent)
    audit = ("audit", "--sink=sqlite:/data/fabric/sinks/billing/records.db", "--trust=/data/fabric/trust.pem", "--json")
    until("all is delivered", SECONDS, lambda: delivered(kubernetes.kubectl(*run, *audit)) == RECORDS)


def delivered(audited: str) -> int:
    """How many records an audit counts as delivered; what it finds, it finds whole."""
    answer = json.loads(audited)
    assert answer["whole"], audited
    return sum(producer["records"]["delivered"] for producer in answer["producers"])


def restricted(kubernetes: Cluster, name: str, image: str, command: list[str]) -> dict[str, Any]:
    """A pod that a restricted namespace takes."""
    container = {"name": "main", "image": image, "command": command, "securityContext": RESTRICTED}
    return pod(kubernetes, name, [], containers=[container])
