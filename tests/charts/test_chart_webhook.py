"""What the chart renders where the webhook injects: whom the API server asks about what, and what stands behind it."""

import pytest
import yaml

from tests.charts.helm import CHARTS, SYSTEM, Helm, Object, of_kind, the
from tests.charts.rendered import LISTED, WEBHOOK, injector_settings, injectors, settings
from tests.charts.rights import explained, of_rules

pytestmark = pytest.mark.cluster


@pytest.fixture(params=[WEBHOOK, {**WEBHOOK, **LISTED}], ids=["everywhere", "listed"])
def objects(request: pytest.FixtureRequest, helm: Helm) -> list[Object]:
    return helm.rendered(request.param)


def test_each_way_has_its_objects_and_none_of_the_others(helm: Helm) -> None:
    policy, webhook = helm.rendered(LISTED), helm.rendered({**LISTED, **WEBHOOK})
    for kind in ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"):
        assert of_kind(policy, kind)
        assert not of_kind(webhook, kind)
    assert not of_kind(policy, "MutatingWebhookConfiguration")
    assert not [each for each in policy if "inject" in each["metadata"]["name"]]


def test_the_webhook_needs_no_kubernetes_that_knows_policies(helm: Helm) -> None:
    text = helm("template", "r", str(CHARTS / "meterfabric"), "--kube-version", "1.34.0", values=WEBHOOK)
    assert of_kind([each for each in yaml.safe_load_all(text) if each], "MutatingWebhookConfiguration")


def test_the_api_server_asks_about_the_policys_pods_and_no_others(helm: Helm, objects: list[Object]) -> None:
    policy = the(helm.rendered(), "MutatingAdmissionPolicy")["spec"]
    listed = of_kind(objects, "Role") and any(
        "fabrics" in each["metadata"]["name"] for each in of_kind(objects, "Role")
    )
    for entry in the(objects, "MutatingWebhookConfiguration")["webhooks"]:
        assert entry["rules"] == policy["matchConstraints"]["resourceRules"]
        assert entry["matchConditions"] == policy["matchConditions"]
        assert entry["reinvocationPolicy"] == policy["reinvocationPolicy"]
        assert entry["objectSelector"] == {"matchLabels": {"meterfabric.io/inject": "true"}}
        joined, *named = entry["namespaceSelector"]["matchExpressions"]
        assert joined == {"key": "meterfabric.io/fabric", "operator": "Exists"}
        assert [each["values"] for each in named] == ([["shop", "metering"]] if listed else [])
        assert (entry["failurePolicy"], entry["sideEffects"]) == ("Ignore", "None")
        assert entry["timeoutSeconds"] <= 5


def test_istio_is_asked_after_us_since_it_reads_what_we_write(objects: list[Object]) -> None:
    assert the(objects, "MutatingWebhookConfiguration")["metadata"]["name"] < "istio-sidecar-injector"


def test_each_replica_is_asked_by_a_name_of_its_own_that_its_certificate_has(objects: list[Object]) -> None:
    told = settings(objects)
    entries = the(objects, "MutatingWebhookConfiguration")["webhooks"]
    found = injectors(objects)
    assert len(entries) == len(found) == 2
    names = [each["clientConfig"]["service"] for each in entries]
    assert told.webhook.hosts == tuple(f"{each['name']}.{each['namespace']}.svc" for each in names)
    for name, deployment in zip(names, found, strict=True):
        service = the(objects, "Service", name["name"])["spec"]
        assert service["ports"] == [{"name": "webhook", "port": name["port"], "targetPort": "webhook"}]
        pods = deployment["spec"]["template"]["metadata"]["labels"]
        taken = [
            service["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items() for each in found
        ]
        assert taken.count(True) == 1
        assert service["selector"].items() <= pods.items()
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        made = injector_settings(deployment)
        assert ports == {"pages": made.http_port, "webhook": made.port}


def test_operator_and_replicas_mean_the_same_secret_and_lifetime(helm: Helm) -> None:
    values = {"injection": {"mode": "webhook", "webhook": {"certificateLifetime": 31_536_000}}, **LISTED}
    objects = helm.rendered(values)
    told = settings(objects)
    assert told.injection == "webhook"
    assert told.webhook.lifetime == 31_536_000.0
    assert the(objects, "MutatingWebhookConfiguration")["metadata"]["name"] == told.webhook.configuration
    assert "data" not in the(objects, "Secret")
    for deployment in injectors(objects):
        made = injector_settings(deployment)
        assert made.secret == told.webhook.secret == the(objects, "Secret")["metadata"]["name"]
        assert made.lifetime == told.webhook.lifetime
        assert (made.fabrics, made.producers) == (("metering", "audit"), ("shop", "metering"))
        assert made.image == told.image


def test_one_replica_may_be_away_and_they_keep_apart(objects: list[Object]) -> None:
    budget = the(objects, "PodDisruptionBudget", "-inject")["spec"]
    assert budget["maxUnavailable"] == 1
    for deployment in injectors(objects):
        spec = deployment["spec"]
        assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (1, 0)
        labels = spec["template"]["metadata"]["labels"]
        assert budget["selector"]["matchLabels"].items() <= labels.items()
        (apart,) = spec["template"]["spec"]["affinity"]["podAntiAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert apart["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels.items()


def test_replicas_read_and_write_nothing(objects: list[Object]) -> None:
    roles = [each for kind in ("ClusterRole", "Role") for each in of_kind(objects, kind)]
    given = [
        right for each in roles if each["metadata"]["name"].endswith("inject") for right in of_rules(each["rules"])
    ]
    assert set(given) == explained("injector") | explained("injectorfabrics") | explained("injectorown")
    assert {verb for *_, verb in given} == {"get"}
    for each in (*of_kind(objects, "ClusterRoleBinding"), *of_kind(objects, "RoleBinding")):
        if each["metadata"]["name"].endswith("inject"):
            assert [subject["name"] for subject in each["subjects"]] == ["r-inject"]
            assert each["roleRef"]["name"] == each["metadata"]["name"]


def test_the_operator_has_the_rights_that_are_explained(helm: Helm) -> None:
    made = helm.rendered(WEBHOOK)
    rights = of_rules(the(made, "ClusterRole", "-operator")["rules"])
    parts = ("cluster", "everywhere", "fabrics", "switched", "webhook")
    assert rights == set().union(*map(explained, parts))
    (role,) = [each for each in of_kind(made, "Role") if each["metadata"]["name"] == "r-operator"]
    assert of_rules(role["rules"]) == explained("own") | explained("certificate")
    listed = helm.rendered({**WEBHOOK, **LISTED})
    assert of_rules(the(listed, "ClusterRole", "-operator")["rules"]) == explained("cluster") | explained("webhook")


def test_names_that_look_like_numbers_stay_names(helm: Helm) -> None:
    made = helm.rendered({**WEBHOOK, "namespaces": {"fabrics": ["1"], "producers": ["2"]}}, release="4", namespace="5")
    for entry in the(made, "MutatingWebhookConfiguration")["webhooks"]:
        assert entry["clientConfig"]["service"]["namespace"] == "5"


def test_the_longest_names_still_fit(helm: Helm) -> None:
    for each in helm.rendered({**WEBHOOK, **LISTED}, release="r" * 53, namespace="n" * 63):
        kind, name = each["kind"], each["metadata"]["name"]
        assert len(name) <= (63 if kind in ("Service", "Job", "Pod", "Deployment") else 253), (kind, name)


def test_everything_is_the_releases(objects: list[Object]) -> None:
    for each in objects:
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm", each["metadata"]["name"]
    assert {each["metadata"].get("namespace", SYSTEM) for each in objects} <= {SYSTEM, "metering", "audit", "shop"}
