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
WHO = "import json, os; print(json.dumps([os.getuid(), os.getgid(), os.path.exists('/usr/bin/gcc')]))"


@pytest.fixture(scope="module")
def dataplane(kubernetes: Cluster) -> str:
    """The name of the data plane's image, which every node has."""
    made = product.image("dataplane", print)
    kubernetes.load_image(made.archive)
    kubernetes.kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted")
    return made.name


@pytest.mark.parametrize("program", ["meterfabric", "meterfabric-sidecar", "meterfabric-relay", "meterfabric-sink"])
def test_every_program_of_the_data_plane_starts(kubernetes: Cluster, dataplane: str, program: str) -> None:
    apply(kubernetes, restricted(kubernetes, f"starts-{program}", dataplane, [program, "--help"]))
    assert output(kubernetes, f"starts-{program}").startswith("usage: ")


def test_the_data_planes_image_is_not_roots_and_has_no_compiler(kubernetes: Cluster, dataplane: str) -> None:
    apply(kubernetes, restricted(kubernetes, "who", dataplane, ["python", "-c", WHO]))
    assert json.loads(output(kubernetes, "who")) == [65532, 65532, False]


def test_a_whole_fabric_in_one_pod_delivers_what_it_is_sent_and_its_books_balance(
    kubernetes: Cluster, dataplane: str
) -> None:
    fabric = (product.TREE / "examples" / "fabric.yaml").read_text()
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "whole"}, "data": {"fabric.yaml": fabric}}
    command = ["meterfabric", "local", "--fabric=/fabric/fabric.yaml", "--dir=/data/fabric"]
    described = restricted(kubernetes, "whole", dataplane, command)
    described["spec"]["volumes"] = [
        {"name": "fabric", "configMap": {"name": "whole"}},
        {"name": "data", "emptyDir": {}},
    ]
    (container,) = described["spec"]["containers"]
    container["volumeMounts"] = [{"name": "fabric", "mountPath": "/fabric"}, {"name": "data", "mountPath": "/data"}]
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
