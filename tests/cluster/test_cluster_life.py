"""A whole Kubernetes, brought up, used as Meterfabric uses one, and taken away without a trace.

KUBERNETES=1.36.3 in the environment picks another version.
"""

import base64
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.cluster import images, network, versions
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import NODES
from tests.cluster.pods import SECONDS, VERSION, apply, get, output, pod
from tests.cluster.wait import until

pytestmark = pytest.mark.cluster

SIGNER = "meterfabric.io/producer"


def test_a_native_sidecar_is_up_before_the_pods_container_and_ends_after_it(kubernetes: Cluster) -> None:
    image = images.helper_image(kubernetes.programs["helper"])
    sidecar = {
        "name": "sidecar",
        "image": image,
        "args": ["serve", ":8080"],
        "restartPolicy": "Always",
        "startupProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    apply(kubernetes, pod(kubernetes, "native", ["get", "http://127.0.0.1:8080/"], initContainers=[sidecar]))
    assert output(kubernetes, "native") == "native\n"
    status = get(kubernetes, "pod", "native")["status"]
    began = status["initContainerStatuses"][0]["state"]["terminated"]["startedAt"]
    assert began <= status["containerStatuses"][0]["state"]["terminated"]["startedAt"]


def test_a_pod_reaches_the_api_server_by_its_name_and_with_its_account(kubernetes: Cluster) -> None:
    apply(kubernetes, pod(kubernetes, "asks", ["get", "https://kubernetes.default.svc/version"]))
    assert json.loads(output(kubernetes, "asks"))["gitVersion"] == f"v{VERSION}"


def test_every_node_is_ready_and_of_the_version_that_was_asked_for(kubernetes: Cluster) -> None:
    nodes = json.loads(kubernetes.kubectl("get", "nodes", "-o", "json"))["items"]
    assert {node["metadata"]["name"]: node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {
        f"node-{number}": f"v{VERSION}" for number in range(1, NODES + 1)
    }


@pytest.mark.parametrize(("server", "client"), [("node-1", "node-1"), ("node-1", "node-2"), ("node-3", "node-1")])
def test_a_pod_reaches_a_service_whose_pod_is_on_any_node(kubernetes: Cluster, server: str, client: str) -> None:
    name = f"from-{client}-to-{server}"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": f"{name}-serves"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    serves = pod(kubernetes, f"{name}-serves", ["serve", ":8080"], nodeName=server)
    asks = pod(kubernetes, f"{name}-asks", ["get", f"http://{name}.default.svc.cluster.local/"], nodeName=client)
    apply(kubernetes, service, serves, asks)
    assert output(kubernetes, f"{name}-asks") == f"{name}-serves\n"


def test_a_policy_changes_pods_as_they_are_made(kubernetes: Cluster) -> None:
    served = "mutatingadmissionpolicies" in kubernetes.kubectl(
        "api-resources", "--api-group=admissionregistration.k8s.io"
    )
    assert served == (versions.minor(VERSION) >= 36)
    if not served:
        return
    kind = "admissionregistration.k8s.io/v1"
    expression = '[JSONPatch{op: "add", path: "/metadata/labels/changed", value: "yes"}]'
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    apply(
        kubernetes,
        {
            "apiVersion": kind,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": "changes"},
            "spec": {
                "matchConstraints": {
                    "resourceRules": [rule],
                    "objectSelector": {"matchLabels": {"app": "to-be-changed"}},
                },
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            },
        },
        {
            "apiVersion": kind,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": "changes"},
            "spec": {"policyName": "changes"},
        },
    )
    described = json.dumps(pod(kubernetes, "to-be-changed", ["init"]))

    def changed() -> bool:
        made = kubernetes.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=described)
        return "changed" in json.loads(made)["metadata"]["labels"]

    until("the policy acts", SECONDS, changed)


def test_a_pods_ed25519_request_is_stamped_and_signed(kubernetes: Cluster) -> None:
    allowed = {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "asks"}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "asks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "asks"},
        "subjects": [{"kind": "Group", "name": "system:serviceaccounts:default"}],
    }
    asker = pod(kubernetes, "enrols", ["init"])
    apply(kubernetes, {**role, "rules": [{**allowed, "verbs": ["create", "get"]}]}, binding, asker)
    uid = get(kubernetes, "pod", "enrols")["metadata"]["uid"]
    until("the pod has a node", SECONDS, lambda: get(kubernetes, "pod", "enrols")["spec"].get("nodeName"))
    bound = ("--bound-object-kind=Pod", "--bound-object-name=enrols", f"--bound-object-uid={uid}")
    token = kubernetes.kubectl("create", "token", "default", *bound).strip()

    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "enrols")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, None)
    spec = {"signerName": SIGNER, "request": _base64(request.public_bytes(Encoding.PEM)), "usages": ["client auth"]}
    csr = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "spec": spec}
    until(
        "RBAC lets the pod ask", SECONDS, lambda: _created(kubernetes, token, {**csr, "metadata": {"name": "enrols"}})
    )
    stamped = get(kubernetes, "csr", "enrols")
    assert stamped["spec"]["username"] == "system:serviceaccount:default:default"
    assert stamped["spec"]["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]
    assert stamped["spec"]["extra"]["authentication.kubernetes.io/pod-name"] == ["enrols"]

    kubernetes.kubectl("certificate", "approve", "enrols")
    approved = get(kubernetes, "csr", "enrols")
    approved["status"]["certificate"] = _base64(_signed(request).public_bytes(Encoding.PEM))
    place = "/apis/certificates.k8s.io/v1/certificatesigningrequests/enrols/status"
    kubernetes.kubectl("replace", "--raw", place, "-f", "-", stdin=json.dumps(approved))
    held = x509.load_pem_x509_certificate(base64.b64decode(get(kubernetes, "csr", "enrols")["status"]["certificate"]))
    assert held.public_key() == key.public_key()


def _created(kubernetes: Cluster, token: str, described: dict[str, Any]) -> bool:
    """Make an object as the bearer of a token; False where that is forbidden."""
    path = kubernetes.plan.folder / "bearer.kubeconfig"
    seen = json.loads(kubernetes.plan.kubeconfig.read_text())
    seen["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(seen))
    command = [str(kubernetes.programs["kubectl"]), f"--kubeconfig={path}", "create", "-f", "-", "--validate=false"]
    done = subprocess.run(command, input=json.dumps(described), capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "forbidden" in done.stderr, done.stderr
    return done.returncode == 0


def _signed(request: x509.CertificateSigningRequest) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the test's signer")]))
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(Ed25519PrivateKey.generate(), None)
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_the_api_server_can_be_away_and_comes_back(kubernetes: Cluster) -> None:
    kubernetes.stop("kube-apiserver")
    assert not kubernetes.running("kube-apiserver")
    with pytest.raises(subprocess.CalledProcessError):
        kubernetes.kubectl("get", "--raw=/readyz")
    kubernetes.start("kube-apiserver")
    until("it answers", SECONDS, lambda: _answers(kubernetes))


def _answers(kubernetes: Cluster) -> bool:
    try:
        return kubernetes.kubectl("get", "--raw=/readyz") == "ok"
    except subprocess.CalledProcessError:
        return False


def test_a_node_whose_network_is_cut_is_noticed_and_comes_back(kubernetes: Cluster) -> None:
    lost = kubernetes.plan.workers[1]

    def ready() -> str:
        conditions = get(kubernetes, "node", lost.name)["status"]["conditions"]
        status: str = next(each["status"] for each in conditions if each["type"] == "Ready")
        return status

    network.cut(kubernetes.plan, lost)
    until("the node is missed", SECONDS, lambda: ready() == "Unknown")
    network.mend(kubernetes.plan, lost)
    until("the node is back", SECONDS, lambda: ready() == "True")
