"""The ValidatingAdmissionPolicy that keeps pods which may ask for our certificates from asking other signers.

The right to make certificate requests can't be narrowed to a signer by RBAC. So the role that gives it also gives a
right that nothing else asks about; who has that one, and not all rights there are, is held to our signer. Role and hold
come by one binding, so neither is ever without the other.
"""

from __future__ import annotations

from meterfabric_operator.admission.cel import written
from meterfabric_operator.objects import GROUP, Object

SIGNER = f"{GROUP}/producer"
HELD = "enrolments"
"""A resource that there isn't: to `use` it is the mark of the role `enrol_role`."""
FREE = "othersigners"
"""Another: to `use` it lets a held service account ask other signers all the same."""


def policy(name: str) -> Object:
    """The policy: who is held asks for our signer, with the usages of a producer, and nothing else."""
    check = f"authorizer.group({written(GROUP)}).resource({{}}).check('use').allowed()"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "meterfabric"}},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["certificates.k8s.io"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": ["certificatesigningrequests"],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "a-service-account",
                    "expression": "request.userInfo.?groups.orValue([]).exists(g, g == 'system:serviceaccounts')",
                },
                {"name": "that-enrols", "expression": check.replace("{}", written(HELD))},
                # Who may do anything has this right as well, and isn't held.
                {"name": "and-is-held", "expression": f"!{check.replace('{}', written(FREE))}"},
            ],
            "validations": [
                {
                    "expression": f"object.spec.signerName == {written(SIGNER)}",
                    "messageExpression": (
                        "'spec.signerName is ' + object.spec.signerName + ': service accounts of a namespace that"
                        f" joined a MeteringFabric may ask {SIGNER} only; to let one ask others, grant it the verb use"
                        f" on {FREE}.{GROUP}'"
                    ),
                    "reason": "Forbidden",
                }
            ],
        },
    }


def binding(name: str) -> Object:
    """Everywhere, and it denies."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "meterfabric"}},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def enrol_role(name: str) -> Object:
    """The ClusterRole of who may ask: make requests, look at one by its name, and be held to our signer."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "meterfabric"}},
        "rules": [
            {
                "apiGroups": ["certificates.k8s.io"],
                "resources": ["certificatesigningrequests"],
                "verbs": ["create", "get"],
            },
            {"apiGroups": [GROUP], "resources": [HELD], "verbs": ["use"]},
        ],
    }
