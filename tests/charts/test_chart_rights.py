"""Who may do what by the chart, and what it keeps from pods and requests."""

import pytest

from tests.charts.helm import SYSTEM, Helm, Object, of_kind, pods, the
from tests.charts.rendered import LISTED
from tests.charts.rights import explained, of_rules

pytestmark = pytest.mark.cluster


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
