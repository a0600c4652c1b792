"""The images of the Dockerfile run in a cluster, as its strictest namespaces want it."""

import json

import pytest

from tests.cluster import product
from tests.cluster.cluster import Cluster
from tests.cluster.pods import apply, output, pod

pytestmark = pytest.mark.cluster

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


def restricted(kubernetes: Cluster, name: str, image: str, command: list[str]) -> dict[str, object]:
    """A pod that a restricted namespace takes."""
    container = {"name": "main", "image": image, "command": command, "securityContext": RESTRICTED}
    return pod(kubernetes, name, [], containers=[container])
