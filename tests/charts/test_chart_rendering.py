"""What the charts render, under several values: what must be there, and what must not."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from meterfabric_operator.injector.settings import Settings as InjectorSettings
from meterfabric_operator.settings import Settings
from meterfabric_protocol.fabric import read
from meterfabric_runtime.settings import load
from tests.charts.helm import CHARTS, CLUSTER_SCOPED, ROOT, SYSTEM, Helm, Object, environment, of_kind, pods, the
from tests.charts.rights import explained, of_rules

pytestmark = pytest.mark.cluster

LISTED: Object = {"namespaces": {"fabrics": ["metering", "audit"], "producers": ["shop", "metering"]}}
WEBHOOK: Object = {"injection": {"mode": "webhook"}}
DIGEST = "sha256:" + "0123456789abcdef" * 4


WAYS: list[Object] = [{}, LISTED, WEBHOOK, {**WEBHOOK, **LISTED}]
NAMES = ["everywhere", "listed", "webhook", "webhook-listed"]


@pytest.fixture(params=WAYS, ids=NAMES)
def objects(request: pytest.FixtureRequest, helm: Helm) -> list[Object]:
    return helm.rendered(request.param)


def operator(objects: list[Object]) -> Object:
    """The operator's Deployment."""
    return the(objects, "Deployment", "-operator")


def injectors(objects: list[Object]) -> list[Object]:
    """The Deployments of the webhook's replicas; none where the policy injects."""
    return [each for each in of_kind(objects, "Deployment") if "-inject-" in each["metadata"]["name"]]


def settings(objects: list[Object]) -> Settings:
    """As the operator reads them in its pod."""
    (container,) = operator(objects)["spec"]["template"]["spec"]["containers"]
    return load(Settings, "operator", file=None, environ=environment(container))


def container_settings(deployment: Object) -> InjectorSettings:
    """As a replica of the webhook reads them in its pod."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return load(InjectorSettings, "injector", file=None, environ=environment(container))


def injected_image(objects: list[Object]) -> set[str]:
    """The images that the policy, or the webhook, puts into pods."""
    told = {container_settings(each).image for each in injectors(objects)}
    if told:
        return told
    mutations = the(objects, "MutatingAdmissionPolicy")["spec"]["mutations"]
    return {image for each in mutations for image in re.findall(r'"image": dyn\("(.*?)"\)', str(each))}


def test_lint_finds_nothing(helm: Helm) -> None:
    for values in WAYS:
        said = helm("lint", "--strict", "--quiet", str(CHARTS / "meterfabric"), values=values)
        assert "[WARNING]" not in said
        assert "[ERROR]" not in said
    helm("lint", "--strict", "--quiet", str(CHARTS / "meterfabric-crds"))


def test_the_chart_of_the_kinds_is_those_kinds(helm: Helm) -> None:
    made = list(yaml.safe_load_all(helm("template", "r", str(CHARTS / "meterfabric-crds"))))
    here = [
        yaml.safe_load((ROOT / "crds" / f"{name}.yaml").read_text()) for name in ("meteringfabrics", "meteringsinks")
    ]
    assert sorted(made, key=str) == sorted(here, key=str)


def test_a_packed_chart_holds_the_kinds_themselves(helm: Helm, tmp_path: Any) -> None:
    helm("package", str(CHARTS / "meterfabric-crds"), "--destination", str(tmp_path))
    (packed,) = tmp_path.glob("*.tgz")
    made = list(yaml.safe_load_all(helm("template", "r", str(packed))))
    assert {each["kind"] for each in made} == {"CustomResourceDefinition"}


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


def test_only_who_speaks_with_the_api_gets_a_token(objects: list[Object]) -> None:
    for account in of_kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    *running, sweep, test = pods(objects)
    for pod in (*running, sweep):
        injects = pod["spec"]["containers"][0]["name"] == "injector"
        assert pod["spec"]["serviceAccountName"] == ("r-inject" if injects else "r-operator")
        assert pod["spec"]["automountServiceAccountToken"] is True
    assert "serviceAccountName" not in test["spec"]
    assert test["spec"]["automountServiceAccountToken"] is False


def test_nothing_is_labelled_as_the_operators_own_which_a_sweep_removes(objects: list[Object]) -> None:
    for each in objects:
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm", each["metadata"]["name"]


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


def test_names_that_look_like_numbers_stay_names(helm: Helm) -> None:
    made = helm.rendered({"namespaces": {"fabrics": ["1"], "producers": ["2", "0x3"]}}, release="4", namespace="5")
    for each in made:
        assert isinstance(each["metadata"]["name"], str)
        assert isinstance(each["metadata"].get("namespace", ""), str)
    account = the(of_kind(made, "ClusterRoleBinding"), "ClusterRoleBinding", "-operator")["subjects"][0]
    assert (account["name"], account["namespace"]) == ("4-operator", "5")


def test_releases_share_nothing_that_has_no_namespace(helm: Helm) -> None:
    names: list[set[tuple[str, str]]] = []
    for namespace, release in (("a-b", "c"), ("a", "b-c"), ("a", "b"), ("b", "a")):
        made = helm.rendered(LISTED, release=release, namespace=namespace)
        roles = [each for each in made if each["kind"] in CLUSTER_SCOPED or each["metadata"].get("namespace")]
        names.append({(each["kind"], each["metadata"]["name"]) for each in roles})
    assert sum(map(len, names)) == len(set().union(*names))


def test_the_longest_names_still_fit(helm: Helm) -> None:
    for each in helm.rendered(LISTED, release="r" * 53, namespace="n" * 63):
        kind, name = each["kind"], each["metadata"]["name"]
        assert len(name) <= (63 if kind in ("Service", "Job", "Pod", "Deployment") else 253), (kind, name)


def test_everywhere_the_operator_has_the_rights_that_are_explained(helm: Helm) -> None:
    made = helm.rendered()
    rights = of_rules(the(made, "ClusterRole", "-operator")["rules"])
    assert rights == explained("cluster") | explained("everywhere") | explained("fabrics") | explained("policy")
    (role,) = of_kind(made, "Role")
    assert of_rules(role["rules"]) == explained("own")
    assert not of_kind(made, "MutatingAdmissionPolicyBinding")
    assert {each["metadata"].get("namespace", SYSTEM) for each in made} == {SYSTEM}


def test_where_namespaces_are_listed_the_operator_has_rights_there_only(helm: Helm) -> None:
    made = helm.rendered(LISTED)
    assert of_rules(the(made, "ClusterRole", "-operator")["rules"]) == explained("cluster")
    found = {
        (each["metadata"].get("namespace", SYSTEM), each["metadata"]["name"].rpartition("-")[2]): of_rules(
            each["rules"]
        )
        for each in of_kind(made, "Role")
    }
    assert found == {
        (SYSTEM, "operator"): explained("own"),
        ("metering", "fabrics"): explained("fabrics"),
        ("audit", "fabrics"): explained("fabrics"),
        ("metering", "producers"): explained("producers"),
        ("shop", "producers"): explained("producers"),
    }
    for role, binding in zip(of_kind(made, "Role"), of_kind(made, "RoleBinding"), strict=True):
        assert role["metadata"] == binding["metadata"]
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert [(each["name"], each["namespace"]) for each in binding["subjects"]] == [("r-operator", SYSTEM)]


def test_where_namespaces_are_listed_the_chart_makes_what_has_none(helm: Helm) -> None:
    made = helm.rendered(LISTED)
    rights = the(made, "ClusterRoleBinding", "-enrol")
    assert rights["roleRef"]["name"] == the(made, "ClusterRole", "-enrol")["metadata"]["name"]
    assert [each["name"] for each in rights["subjects"]] == [
        "system:serviceaccounts:shop",
        "system:serviceaccounts:metering",
    ]
    policy = the(made, "MutatingAdmissionPolicy")["metadata"]["name"]
    bindings = of_kind(made, "MutatingAdmissionPolicyBinding")
    assert [each["spec"]["paramRef"]["namespace"] for each in bindings] == ["metering", "audit"]
    for each in bindings:
        assert each["spec"]["policyName"] == policy
        assert each["spec"]["paramRef"]["parameterNotFoundAction"] == "Allow"
        matched = each["spec"]["matchResources"]
        assert matched["objectSelector"] == {"matchLabels": {"meterfabric.io/inject": "true"}}
        named = {
            rule["operator"]: rule["values"]
            for rule in matched["namespaceSelector"]["matchExpressions"]
            if rule["key"] == "kubernetes.io/metadata.name"
        }
        assert named == {"In": ["shop", "metering"], "NotIn": [each["spec"]["paramRef"]["namespace"]]}


def test_who_may_edit_a_namespace_writes_no_status(objects: list[Object]) -> None:
    edit, view = (of_rules(the(objects, "ClusterRole", name)["rules"]) for name in ("-edit", "-view"))
    assert not [right for right in edit | view if right[1].endswith("/status")]
    assert {right[3] for right in view} == {"get", "list", "watch"}


def test_a_pod_is_never_held_up_and_a_request_never_let_through(objects: list[Object]) -> None:
    policies = [each["spec"] for each in of_kind(objects, "MutatingAdmissionPolicy")]
    webhooks = [entry for each in of_kind(objects, "MutatingWebhookConfiguration") for entry in each["webhooks"]]
    assert {each["failurePolicy"] for each in policies + webhooks} == {"Ignore"}
    assert the(objects, "ValidatingAdmissionPolicy")["spec"]["failurePolicy"] == "Fail"
    assert the(objects, "ValidatingAdmissionPolicyBinding")["spec"]["validationActions"] == ["Deny"]


@pytest.mark.parametrize(
    ("version", "more", "expected"),
    [
        ("1.37.2", [], "admissionregistration.k8s.io/v1"),
        ("1.36.0-gke.100", [], "admissionregistration.k8s.io/v1"),
        (
            "1.35.4",
            ["admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"],
            "admissionregistration.k8s.io/v1beta1",
        ),
    ],
)
def test_the_policy_has_the_version_that_the_cluster_serves(
    helm: Helm, version: str, more: list[str], expected: str
) -> None:
    served = [option for each in more for option in ("--api-versions", each)]
    text = helm("template", "r", str(CHARTS / "meterfabric"), "--kube-version", version, *served)
    made = [each for each in yaml.safe_load_all(text) if each]
    assert the(made, "MutatingAdmissionPolicy")["apiVersion"] == expected
    assert settings(made).admission_api == expected


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("1.35.4", "Kubernetes v1.35.4 serves no MutatingAdmissionPolicy"),
        ("1.35.4", "set injection.mode to webhook"),
        ("1.33.0", "chart requires kubeVersion: >=1.34.0-0"),
    ],
)
def test_a_cluster_that_is_too_old_is_refused_with_what_it_lacks(helm: Helm, version: str, says: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        helm("template", "r", str(CHARTS / "meterfabric"), "--kube-version", version)
    assert says in caught.value.stderr


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replicas": 0}, "at '/replicas': minimum: got 0, want 1"),
        ({"replicas": 6}, "at '/replicas': maximum: got 6, want 5"),
        ({"replicas": "two"}, "at '/replicas': got string, want integer"),
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"sidecar": {"image": "mine"}}, "additional properties 'sidecar' not allowed"),
        ({"image": {"operator": {"repository": ""}}}, "at '/image/operator/repository'"),
        ({"image": {"dataplane": {"repository": 'a", "b'}}}, "at '/image/dataplane/repository'"),
        ({"image": {"dataplane": {"tag": "a:b"}}}, "at '/image/dataplane/tag': 'a:b' does not match pattern"),
        ({"image": {"dataplane": {"digest": "sha256:12"}}}, "at '/image/dataplane/digest'"),
        ({"image": {"sidecar": {}}}, "at '/image': additional properties 'sidecar' not allowed"),
        ({"image": {"pullPolicy": "always"}}, "at '/image/pullPolicy': value must be one of 'IfNotPresent', 'Always'"),
        ({"image": {"pullSecrets": "registry"}}, "at '/image/pullSecrets': got string, want array"),
        ({"namespaces": ["shop"]}, "at '/namespaces': got array, want object"),
        ({"namespaces": {"fabrics": ["metering"]}}, "at '/namespaces/producers': minItems: got 0, want 1"),
        ({"namespaces": {"producers": ["shop"]}}, "at '/namespaces/producers': maxItems: got 1, want 0"),
        ({"namespaces": {"fabrics": ["a", "a"], "producers": ["b"]}}, "items at 0 and 1 are equal"),
        ({"namespaces": {"fabrics": ["A_b"], "producers": ["b"]}}, "at '/namespaces/fabrics/0': 'A_b' does not match"),
        ({"injection": {"mode": "sidecar"}}, "at '/injection/mode': value must be one of 'policy', 'webhook'"),
        ({"injection": {"policy": True}}, "at '/injection': additional properties 'policy' not allowed"),
        ({"injection": {"webhook": {"certificateLifetime": 10}}}, "minimum: got 10, want 60"),
        ({"injection": {"webhook": {"certificateLifetime": "90d"}}}, "got string, want integer"),
        ({"injection": {"webhook": {"replicas": 3}}}, "additional properties 'replicas' not allowed"),
        ({"clusterDomain": ""}, "at '/clusterDomain'"),
        ({"resync": 0}, "at '/resync': minimum: got 0, want 1"),
        ({"logLevel": "loud"}, "at '/logLevel': value must be one of 'debug', 'info'"),
        ({"resources": 1}, "at '/resources': got number, want object"),
    ],
)
def test_values_that_are_wrong_are_refused_with_their_place(helm: Helm, values: Object, says: str) -> None:
    assert says in helm.refusal(values)


@pytest.mark.parametrize("values", WAYS, ids=NAMES)
def test_the_notes_tell_three_commands_that_work(helm: Helm, values: Object) -> None:
    chart = str(CHARTS / "meterfabric")
    said = helm("install", "r", chart, "--namespace", SYSTEM, "--dry-run=client", values=values).partition("NOTES:")[2]
    assert re.findall(r"^(\d)\. ", said, re.MULTILINE) == ["1", "2", "3"]
    commands = re.findall(r"^kubectl .*$", said, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["apply", "label", "get"]
    written = said.partition("<<'END'\n")[2].partition("\nEND\n")[0]
    made = [each for each in yaml.safe_load_all(written) if each["kind"] != "Namespace"]
    fabric, sink = map(read, made)
    assert f"meterfabric.io/fabric={fabric.metadata.namespace}.{fabric.metadata.name}" in commands[1]
    assert sink.metadata.namespace == fabric.metadata.namespace
    if "namespaces" in values:
        assert fabric.metadata.namespace in values["namespaces"]["fabrics"]
        assert commands[1].split()[3] in values["namespaces"]["producers"]
