"""Helm as the tests of the charts call it, and what it renders."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"

Object = dict[str, Any]

CLUSTER_SCOPED = (
    "ClusterRole",
    "ClusterRoleBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
"""Kinds of the chart's objects that have no namespace."""

SYSTEM = "sys"
"""The namespace of releases that are only rendered."""


@dataclass(frozen=True)
class Helm:
    """The program; `kubeconfig` where it is to speak with a cluster."""

    program: Path
    kubeconfig: Path | None = None

    def __call__(self, *arguments: str, values: Object | None = None) -> str:
        """What it printed. Raises CalledProcessError, whose `stderr` says why."""
        command = [str(self.program), *arguments]
        if self.kubeconfig is not None:
            command += ["--kubeconfig", str(self.kubeconfig)]
        if values is not None:
            command += ["--values", "-"]
        text = json.dumps(values) if values is not None else ""
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    def rendered(self, values: Object | None = None, *, release: str = "r", namespace: str = SYSTEM) -> list[Object]:
        """The objects of the chart meterfabric, hooks too."""
        text = self("template", release, str(CHARTS / "meterfabric"), "--namespace", namespace, values=values or {})
        return [each for each in yaml.safe_load_all(text) if each]

    def refusal(self, values: Object) -> str:
        """Why the chart doesn't take these values."""
        try:
            self.rendered(values)
        except subprocess.CalledProcessError as error:
            return str(error.stderr)
        raise AssertionError(f"the chart takes {values}")


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]


def the(objects: list[Object], kind: str, name: str = "") -> Object:
    """The one of that kind, whose name ends so."""
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"].endswith(name)]
    return found


def pods(objects: list[Object]) -> list[Object]:
    """Every pod or template of one: {metadata, spec}."""
    templates = [each["spec"]["template"] for kind in ("Deployment", "Job") for each in of_kind(objects, kind)]
    return [*templates, *of_kind(objects, "Pod")]


def environment(container: Object) -> dict[str, str]:
    """The variables of a container that have a value; for the others the field that the kubelet reads."""
    return {each["name"]: each.get("value") or each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]}
