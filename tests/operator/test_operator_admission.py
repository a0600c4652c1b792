"""The policies as text: what stands in them, and that their language says what was meant."""

import re

import pytest

from meterfabric_operator.admission import injection_policy, request_policy
from meterfabric_operator.admission.cel import Cel, written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a'b\"c", '"a\'b\\"c"'),
        (7, "7"),
        (True, "true"),
        (["a", 1], '[dyn("a"), dyn(1)]'),
        ({"a": {"b": [Cel("params.x")]}}, '{"a": dyn({"b": dyn([dyn(params.x)])})}'),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_values_are_written_as_expressions(value: object, text: str) -> None:
    assert written(value) == text


def test_what_no_expression_says_is_refused() -> None:
    with pytest.raises(TypeError):
        written(1.5j)


def test_the_image_stands_in_the_policy_and_never_comes_from_a_fabric() -> None:
    policy = injection_policy.build("p", "admissionregistration.k8s.io/v1", "example.org/image:1")
    text = "".join(each["jsonPatch"]["expression"] for each in policy["spec"]["mutations"])
    assert '"image": dyn("example.org/image:1")' in text
    read = set(re.findall(r"params\.([a-zA-Z.]+)", text))
    allowed = ("metadata.namespace", "metadata.name", "status")
    assert all(each.startswith(allowed) for each in read), read
    assert all(each.startswith("status.sidecar") for each in read if each.startswith("status."))


def test_a_pod_is_never_held_up_by_the_policy() -> None:
    policy = injection_policy.build("p", "admissionregistration.k8s.io/v1", "i")
    assert policy["spec"]["failurePolicy"] == "Ignore"
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert (rule["operations"], rule["resources"]) == (["CREATE"], ["pods"])


def test_the_role_that_lets_ask_marks_who_is_held() -> None:
    role = request_policy.enrol_role("enrol")
    verbs = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}
    assert verbs == {"certificatesigningrequests": ["create", "get"], "enrolments": ["use"]}
    conditions = " ".join(each["expression"] for each in request_policy.policy("p")["spec"]["matchConditions"])
    assert '"enrolments"' in conditions
    assert '!authorizer.group("meterfabric.io").resource("othersigners")' in conditions
