"""What the chart takes and what it refuses, and with which words: values, versions of Kubernetes, its notes."""

import re
import subprocess

import pytest
import yaml

from meterfabric_protocol.fabric import read
from tests.charts.helm import CHARTS, SYSTEM, Helm, Object, the
from tests.charts.rendered import NAMES, WAYS, settings

pytestmark = pytest.mark.cluster


def test_lint_finds_nothing(helm: Helm) -> None:
    for values in WAYS:
        said = helm("lint", "--strict", "--quiet", str(CHARTS / "meterfabric"), values=values)
        assert "[WARNING]" not in said
        assert "[ERROR]" not in said
    helm("lint", "--strict", "--quiet", str(CHARTS / "meterfabric-crds"))


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
