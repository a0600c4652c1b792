"""What a real API server makes of the charts: it takes what they render, gives the rights that are meant and no others,
and puts sidecars where the policy is to. The operator's own image isn't needed for any of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from meterfabric_operator.admission import sidecar_values
from meterfabric_operator.wanted import FabricFacts
from meterfabric_protocol.fabric import API_VERSION, MeteringFabric, read
from tests.charts.helm import CHARTS, CLUSTER_SCOPED, Helm, Object, of_kind
from tests.cluster.cluster import Cluster
from tests.cluster.wait import until
from tests.operator.facts import PUBLIC, SETTINGS

pytestmark = pytest.mark.cluster

SYSTEM = "meterfabric-system"
KINDS = ("meteringfabrics.meterfabric.io", "meteringsinks.meterfabric.io")
LISTED: Object = {"namespaces": {"fabrics": ["metering"], "producers": ["shop", "bazaar", "metering"]}}
WEBHOOK: Object = {"injection": {"mode": "webhook"}}
# Nothing of it is to run here.
STILL: Object = {"replicas": 1, "image": {"pullPolicy": "Never"}}
SECONDS = 60


@pytest.fixture(scope="module")
def helmed(kubernetes: Cluster, helm: Helm) -> Helm:
    """Helm, and the cluster with the kinds and namespaces."""
    made = Helm(helm.program, kubernetes.plan.kubeconfig)
    made("upgrade", "--install", "meterfabric-crds", str(CHARTS / "meterfabric-crds"), "--namespace", "default")
    kubernetes.kubectl("wait", "--for=condition=Established", *(f"crd/{kind}" for kind in KINDS))
    labels = {SYSTEM: {}, "metering": {}, "shop": {"meterfabric.io/fabric": "metering.demo"}, "bazaar": {}}
    for name, given in labels.items():
        metadata = {"name": name, "labels": {**given, "pod-security.kubernetes.io/enforce": "restricted"}}
        apply(kubernetes, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return made


@pytest.fixture(scope="module", params=[{}, LISTED], ids=["everywhere", "listed"])
def release(request: pytest.FixtureRequest, kubernetes: Cluster, helmed: Helm) -> Iterator[Object]:
    """The chart installed with these values, its pods never started."""
    chart = str(CHARTS / "meterfabric")
    helmed("install", "fabric", chart, "--namespace", SYSTEM, "--no-hooks", values={**STILL, **request.param})
    yield request.param
    helmed("uninstall", "fabric", "--namespace", SYSTEM, "--no-hooks", "--wait")


def apply(kubernetes: Cluster, *objects: Object, options: tuple[str, ...] = ()) -> str:
    text = "\n---\n".join(map(json.dumps, objects))
    return kubernetes.kubectl("apply", "--server-side", "--force-conflicts", *options, "-f", "-", stdin=text)


Right = tuple[str, str, str]
"""Verb, resource as RESOURCE[.GROUP][/SUBRESOURCE][:NAME], namespace or nothing for the whole cluster."""


def may(kubernetes: Cluster, right: Right) -> bool:
    """Whether the operator's service account may."""
    verb, what, namespace = right
    path, _, name = what.partition(":")
    kind, _, part = path.partition("/")
    resource, _, group = kind.partition(".")
    asked = {"verb": verb, "group": group, "resource": resource, "subresource": part, "name": name}
    account = f"system:serviceaccount:{SYSTEM}:fabric-operator"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": account, "resourceAttributes": {**asked, "namespace": namespace}},
    }
    found = json.loads(kubernetes.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review)))
    allowed: bool = found["status"]["allowed"]
    return allowed


@pytest.mark.parametrize(
    "values",
    [
        {},
        LISTED,
        WEBHOOK,
        {**WEBHOOK, **LISTED},
        {
            "image": {"operator": {"digest": "sha256:" + "0" * 64}, "pullSecrets": ["registry"]},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "infra", "operator": "Exists"}],
            "priorityClassName": "system-cluster-critical",
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        },
    ],
    ids=["everywhere", "listed", "webhook", "webhook-listed", "scheduled"],
)
def test_everything_that_is_rendered_is_taken(kubernetes: Cluster, helmed: Helm, values: Object) -> None:
    objects = helmed.rendered(values, release="dry", namespace=SYSTEM)
    for each in objects:
        if each["kind"] not in CLUSTER_SCOPED:
            each["metadata"].setdefault("namespace", SYSTEM)
    said = apply(kubernetes, *objects, options=("--dry-run=server", "--validate=strict"))
    assert len(said.splitlines()) == len(objects)
    # A namespace that enforces Pod Security warns of templates that it wouldn't take, and refuses pods.
    assert "would violate" not in said


def test_the_kinds_upgrade_and_outlive_their_chart(kubernetes: Cluster, helmed: Helm) -> None:
    chart = str(CHARTS / "meterfabric-crds")
    fabric = {"apiVersion": API_VERSION, "kind": "MeteringFabric", "metadata": {"name": "kept", "namespace": "bazaar"}}
    apply(kubernetes, fabric)
    helmed("upgrade", "meterfabric-crds", chart, "--namespace", "default")
    helmed("uninstall", "meterfabric-crds", "--namespace", "default")
    assert "kept" in kubernetes.kubectl("get", "meteringfabrics", "--namespace", "bazaar")
    helmed("install", "meterfabric-crds", chart, "--namespace", "default")
    kubernetes.kubectl("delete", "meteringfabric", "kept", "--namespace", "bazaar")


def test_the_operator_may_do_what_it_must(kubernetes: Cluster, release: Object) -> None:
    rights = [
        ("patch", "meteringfabrics.meterfabric.io/status", "metering"),
        ("create", "deployments.apps", "metering"),
        ("get", "secrets", "metering"),
        ("create", "configmaps", "shop"),
        ("get", "pods", "shop"),
        ("create", "pods", "shop"),
        ("create", "pods/eviction", "shop"),
        ("create", "events.events.k8s.io", "shop"),
        ("watch", "namespaces", ""),
        ("update", "leases.coordination.k8s.io:fabric-operator", SYSTEM),
        ("patch", "deployments.apps:fabric-operator", SYSTEM),
        ("list", "pods", SYSTEM),
        ("sign", "signers.certificates.k8s.io:meterfabric.io/producer", ""),
    ]
    assert [right for right in rights if not may(kubernetes, right)] == []


def test_listing_namespaces_takes_the_rights_elsewhere_away(kubernetes: Cluster, release: Object) -> None:
    rights = [
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", ""),
        ("create", "mutatingadmissionpolicybindings.admissionregistration.k8s.io", ""),
        ("get", "secrets", "shop"),
        ("create", "deployments.apps", "shop"),
        ("list", "secrets", "shop"),
        ("watch", "secrets", "shop"),
        ("create", "pods", "default"),
        ("create", "pods/eviction", "default"),
        ("list", "pods", "default"),
        ("list", "meteringfabrics.meterfabric.io", "default"),
    ]
    assert [right for right in rights if may(kubernetes, right)] == ([] if release else rights)


def test_the_operator_may_do_nothing_else(kubernetes: Cluster, release: Object) -> None:
    rights = [
        ("patch", "secrets", "metering"),
        ("delete", "pods", "shop"),
        ("create", "pods/exec", "metering"),
        ("create", "serviceaccounts/token", SYSTEM),
        ("update", "leases.coordination.k8s.io:another", SYSTEM),
        ("create", "clusterroles.rbac.authorization.k8s.io", ""),
        ("escalate", "clusterroles.rbac.authorization.k8s.io", ""),
        ("bind", "clusterroles.rbac.authorization.k8s.io:cluster-admin", ""),
        ("patch", "mutatingadmissionpolicies.admissionregistration.k8s.io", ""),
        ("sign", "signers.certificates.k8s.io:kubernetes.io/kube-apiserver-client", ""),
        ("impersonate", "users", ""),
        ("delete", "namespaces", ""),
    ]
    assert [right for right in rights if may(kubernetes, right)] == []


def fabric(kubernetes: Cluster, name: str, quota: str) -> None:
    """A fabric in `metering`, with the status that the operator would give it."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "MeteringFabric",
        "metadata": {"name": name, "namespace": "metering"},
        "spec": {"sidecar": {"spool": {"quota": quota}}},
    }
    apply(kubernetes, body)
    served = read(json.loads(kubernetes.kubectl("get", "mfab", name, "--namespace", "metering", "-o", "json")))
    assert isinstance(served, MeteringFabric)
    given = sidecar_values.build(FabricFacts(served, "uid", SETTINGS, "PEM", PUBLIC))
    status = json.dumps({"status": {"sidecar": given}})
    options = ("--namespace", "metering", "--subresource=status", "--type=merge", "-p", status)
    kubernetes.kubectl("patch", "meteringfabric", name, *options)


def made_pod(kubernetes: Cluster, namespace: str, labels: dict[str, str]) -> Any:
    """A pod as the API server would make it."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": namespace, "labels": labels},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "example.org/web:1", "securityContext": restricted}],
        },
    }
    options = ("--dry-run=server", "-o", "json", "-f", "-")
    return json.loads(kubernetes.kubectl("create", *options, stdin=json.dumps(pod)))


def test_where_namespaces_are_listed_pods_get_the_sidecar_of_the_fabric_that_their_namespace_joined(
    kubernetes: Cluster, helmed: Helm
) -> None:
    chart = str(CHARTS / "meterfabric")
    helmed("install", "listed", chart, "--namespace", SYSTEM, "--no-hooks", values={**STILL, **LISTED})
    try:
        # Three fabrics are the parameter of one binding; one of them was never reconciled.
        fabric(kubernetes, "other", "256Mi")
        fabric(kubernetes, "demo", "512Mi")
        new = {"apiVersion": API_VERSION, "kind": "MeteringFabric", "metadata": {"name": "a", "namespace": "metering"}}
        apply(kubernetes, new)
        labels = {"meterfabric.io/inject": "true"}

        def injected() -> bool:
            return "initContainers" in made_pod(kubernetes, "shop", labels)["spec"]

        until("the policy acts", SECONDS, injected)
        pod = made_pod(kubernetes, "shop", labels)
        (sidecar,) = pod["spec"]["initContainers"]
        given = {each["name"]: each.get("value") for each in sidecar["env"]}
        assert given["METERFABRIC_SIDECAR_FABRIC"] == "metering.demo"
        assert given["METERFABRIC_SIDECAR_SPOOL_QUOTA"] == str(512 << 20)
        assert sidecar["image"] == "meterfabric.io/dataplane:0.1.0"
        assert pod["metadata"]["annotations"]["meterfabric.io/injected"] == "metering.demo"
        assert len([each for each in pod["spec"]["volumes"] if each["name"].startswith("meterfabric-")]) == 4
        # Who didn't ask, who didn't join, who joined from the fabric's own namespace, who isn't listed.
        kubernetes.kubectl("label", "namespace", "default", "metering", "meterfabric.io/fabric=metering.demo")
        for namespace, asked in (("shop", {}), ("bazaar", labels), ("metering", labels), ("default", labels)):
            assert "initContainers" not in made_pod(kubernetes, namespace, asked)["spec"], namespace
    finally:
        helmed("uninstall", "listed", "--namespace", SYSTEM, "--no-hooks", "--wait")
        kubernetes.kubectl("label", "namespace", "default", "metering", "meterfabric.io/fabric-")
        kubernetes.kubectl("delete", "meteringfabric", "--all", "--namespace", "metering")


def test_no_expression_of_the_policies_is_doubted(kubernetes: Cluster, release: Object) -> None:
    found = json.loads(kubernetes.kubectl("get", "validatingadmissionpolicies", "-o", "json"))["items"]
    (policy,) = [each for each in found if each["metadata"]["name"].startswith(SYSTEM)]
    name = policy["metadata"]["name"]

    def checked() -> bool:
        held = json.loads(kubernetes.kubectl("get", "validatingadmissionpolicy", name, "-o", "json"))
        return bool(held.get("status", {}).get("observedGeneration"))

    until("the policy's types are checked", SECONDS, checked)
    held = json.loads(kubernetes.kubectl("get", "validatingadmissionpolicy", name, "-o", "json"))
    assert not held["status"].get("typeChecking", {}).get("expressionWarnings")


def test_uninstalling_leaves_nothing_of_the_release(kubernetes: Cluster, helmed: Helm) -> None:
    values = {**STILL, **LISTED}
    helmed("install", "gone", str(CHARTS / "meterfabric"), "--namespace", SYSTEM, "--no-hooks", values=values)
    objects = helmed.rendered(values, release="gone", namespace=SYSTEM)
    kinds = sorted({each["kind"] for each in objects if "helm.sh/hook" not in str(each["metadata"])})
    assert len(of_kind(objects, "Lease")) == 1
    query = ("get", ",".join(kinds), "--all-namespaces", "-l", "app.kubernetes.io/instance=gone", "-o", "name")
    assert len(kubernetes.kubectl(*query).split()) == len(objects) - 2
    helmed("uninstall", "gone", "--namespace", SYSTEM, "--no-hooks", "--wait")
    assert not kubernetes.kubectl(*query).split()
