"""The charts: what is derived in them is as derived, and every right that they give is explained."""

import importlib.util
import json
import re
from types import ModuleType
from typing import Any

import pytest
import yaml

from meterfabric_operator.api.kinds import FABRIC_CHILDREN, kinds
from tests.charts.helm import ROOT
from tests.charts.rights import HEADINGS, explained, template

CHART = ROOT / "charts" / "meterfabric"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chart_policies", ROOT / "scripts" / "chart_policies.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_policies_are_as_the_operator_describes_them() -> None:
    for name, text in generator().files().items():
        assert (CHART / "templates" / name).read_text() == text, "run make charts"


@pytest.mark.parametrize("crd", ["meteringfabrics.yaml", "meteringsinks.yaml"])
def test_the_chart_of_the_kinds_holds_the_kinds_and_keeps_them(crd: str) -> None:
    text = (ROOT / "charts" / "meterfabric-crds" / "templates" / crd).read_text()
    assert text == (ROOT / "crds" / crd).read_text()
    assert "{{" not in text
    assert yaml.safe_load(text)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_charts_have_the_version_of_the_release() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    for chart in ("meterfabric", "meterfabric-crds"):
        said = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())
        assert (said["version"], said["appVersion"]) == (version[1], version[1])


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The paths of all values that are no tables, or empty ones."""
    found: set[tuple[str, ...]] = set()
    for name, value in tree.items():
        found |= leaves(value, (*path, name)) if isinstance(value, dict) and value else {(*path, name)}
    return found


def described(schema: dict[str, Any], whole: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The paths of all values that a schema names."""
    reference = schema.get("$ref", "").rpartition("/")[2]
    schema = whole["definitions"][reference] if reference else schema
    if "properties" not in schema:
        return {path}
    return {each for name, part in schema["properties"].items() for each in described(part, whole, (*path, name))}


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    # `global` is Helm's own; what `resources` holds is the API's to judge.
    judged = {path[: path.index("resources") + 1] if "resources" in path else path for path in leaves(values)}
    assert judged == described(schema, schema) - {("global",)}


@pytest.mark.parametrize("part", HEADINGS)
def test_every_right_is_explained_and_no_other(part: str) -> None:
    assert template(part)
    assert template(part) == explained(part)


@pytest.mark.parametrize("part", HEADINGS)
def test_secrets_are_listed_where_fabrics_are_only_and_nothing_is_a_wildcard(part: str) -> None:
    for group, resource, _name, verb in template(part):
        assert "*" not in (group, resource, verb)
        assert verb not in ("escalate", "impersonate", "deletecollection")
        assert resource != "secrets" or verb not in ("list", "watch") or part == "fabrics"


def test_pods_that_meter_share_a_namespace_with_no_secret_that_the_operator_reads() -> None:
    assert not [right for right in template("producers") if right[1] == "secrets"]
    writes = {right[1] for right in template("producers") if right[3] not in ("get", "list", "watch")}
    assert writes == {"configmaps", "events", "pods", "pods/eviction"}


def test_every_kind_that_is_watched_may_be_watched() -> None:
    made = kinds("admissionregistration.k8s.io/v1")
    watched = {"MeteringFabric", "MeteringSink", "Namespace", "Pod", "CertificateSigningRequest", *FABRIC_CHILDREN}
    for parts in (["fabrics", "cluster", "everywhere", "policy"], ["producers", "cluster", "everywhere", "policy"]):
        given = {right for part in parts for right in template(part)}
        for kind in watched:
            group = made[kind].api_version.rpartition("/")[0]
            assert {(group, made[kind].plural, "", verb) for verb in ("list", "watch")} <= given, kind


def test_every_child_of_a_fabric_may_be_made_and_removed() -> None:
    made = kinds("admissionregistration.k8s.io/v1")
    given = template("fabrics") | template("everywhere") | template("policy")
    for kind in FABRIC_CHILDREN:
        group = made[kind].api_version.rpartition("/")[0]
        assert {(group, made[kind].plural, "", verb) for verb in ("create", "patch", "delete")} <= given, kind
