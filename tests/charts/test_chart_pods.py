"""The pods that the chart renders, under several values: how they are bounded, found, told and placed."""

import re

import pytest

from meterfabric_operator.settings import Settings
from meterfabric_runtime.settings import load
from tests.charts.helm import SYSTEM, Helm, Object, environment, of_kind, pods, the
from tests.charts.rendered import LISTED, injector_settings, injectors, operator, settings

pytestmark = pytest.mark.cluster


def test_every_pod_is_one_that_restricted_namespaces_take(objects: list[Object]) -> None:
    found = pods(objects)
    assert len(found) == 3 + len(injectors(objects))
    for pod in found:
        spec = pod["spec"]
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "volumes"}
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }


def test_every_container_has_bounds(objects: list[Object]) -> None:
    for pod in pods(objects):
        for container in pod["spec"]["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_two_replicas_of_which_one_may_be_away(objects: list[Object]) -> None:
    deployment, budget = operator(objects), the(objects, "PodDisruptionBudget", "-operator")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


def test_the_operator_says_whether_it_lives_and_what_it_counts(objects: list[Object]) -> None:
    (container,) = operator(objects)["spec"]["template"]["spec"]["containers"]
    port = container["ports"][0]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {each["port"] for each in probes.values()} == {port["name"]}
    assert (probes["livenessProbe"]["path"], probes["readinessProbe"]["path"]) == ("/healthz", "/readyz")
    assert port["containerPort"] == settings(objects).http_port
    service = the(objects, "Service", "-operator")["spec"]
    assert service["ports"] == [{"name": "pages", "port": 8080, "targetPort": "pages"}]
    assert service["selector"] == operator(objects)["spec"]["selector"]["matchLabels"]


def test_only_the_operators_pods_are_taken_for_the_operator(objects: list[Object]) -> None:
    wanted = operator(objects)["spec"]["selector"]["matchLabels"].items()
    taken = [wanted <= each["metadata"]["labels"].items() for each in pods(objects)]
    assert taken == [each["metadata"]["name"] == "r-operator" for each in of_kind(objects, "Deployment")] + [False] * 2


DIGEST = "sha256:" + "0123456789abcdef" * 4


def injected_image(objects: list[Object]) -> set[str]:
    """The images that the policy, or the webhook, puts into pods."""
    told = {injector_settings(each).image for each in injectors(objects)}
    if told:
        return told
    mutations = the(objects, "MutatingAdmissionPolicy")["spec"]["mutations"]
    return {image for each in mutations for image in re.findall(r'"image": dyn\("(.*?)"\)', str(each))}


def test_the_images_are_the_releases(helm: Helm) -> None:
    made = helm.rendered(
        {"image": {"operator": {"repository": "a/op", "tag": "7"}, "dataplane": {"repository": "b/dp"}}}
    )
    assert {each["image"] for pod in pods(made) for each in pod["spec"]["containers"]} == {"a/op:7"}
    assert settings(made).image == "b/dp:0.1.0"
    assert injected_image(made) == {"b/dp:0.1.0"}


def test_an_image_may_be_held_to_its_digest(helm: Helm) -> None:
    made = helm.rendered({"image": {name: {"tag": "7", "digest": DIGEST} for name in ("operator", "dataplane")}})
    assert {each["image"] for pod in pods(made) for each in pod["spec"]["containers"]} == {
        f"meterfabric.io/operator@{DIGEST}"
    }
    assert {settings(made).image} == injected_image(made) == {f"meterfabric.io/dataplane@{DIGEST}"}


def test_values_for_scheduling_and_pulling_reach_every_pod(helm: Helm) -> None:
    values: Object = {
        "image": {"pullSecrets": ["registry", "123"]},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "priorityClassName": "system-cluster-critical",
    }
    for pod in pods(helm.rendered(values)):
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}, {"name": "123"}]
        for name in ("nodeSelector", "tolerations", "priorityClassName"):
            assert pod["spec"][name] == values[name]


def test_the_environment_is_what_the_operator_reads(helm: Helm) -> None:
    made = settings(helm.rendered())
    assert made.namespaces == made.fabric_namespaces == ()
    assert made.image == "meterfabric.io/dataplane:0.1.0"
    assert (made.policy, made.enrol_role) == (f"{SYSTEM}.r-sidecar", f"{SYSTEM}.r-enrol")
    assert made.lease.name == "r-operator"
    assert made.admission_api == "admissionregistration.k8s.io/v1"
    assert made.deployment == ""
    other = settings(
        helm.rendered(
            {
                **LISTED,
                "logLevel": "debug",
                "resync": 30,
                "clusterDomain": "corp.example",
                "image": {"pullPolicy": "Always", "pullSecrets": ["registry"]},
            }
        )
    )
    assert other.namespaces == ("audit", "metering", "shop")
    assert other.fabric_namespaces == ("audit", "metering")
    assert (other.log_level, other.resync, other.cluster_domain) == ("debug", 30.0, "corp.example")
    assert (other.image_pull_policy, other.image_pull_secrets) == ("Always", ("registry",))


def test_what_the_operator_is_told_is_there(objects: list[Object]) -> None:
    told = settings(objects)
    if told.injection == "policy":
        assert the(objects, "MutatingAdmissionPolicy")["metadata"]["name"] == told.policy
        assert the(objects, "MutatingAdmissionPolicy")["apiVersion"] == told.admission_api
    assert the(objects, "ClusterRole", "-enrol")["metadata"]["name"] == told.enrol_role
    assert the(objects, "Lease")["metadata"]["name"] == told.lease.name


def test_the_sweep_comes_before_the_release_goes_and_knows_whom_to_stop(objects: list[Object]) -> None:
    job = the(objects, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = load(Settings, "operator", file=None, environ=environment(container))
    assert told.deployment == operator(objects)["metadata"]["name"]
    assert told.namespaces == settings(objects).namespaces
