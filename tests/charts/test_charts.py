"""The charts: what is derived in them is as derived, and every right that they give is explained."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from meterfabric_operator.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "meterfabric"
RIGHTS = (CHART / "templates" / "rights.yaml").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()


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


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(values) == set(schema) - {"global"}
    assert set(values["image"]) == set(schema["image"]["properties"])


def test_the_environment_of_the_operator_names_settings_that_there_are() -> None:
    text = (CHART / "templates" / "_names.tpl").read_text() + (CHART / "templates" / "sweep.yaml").read_text()
    named = set(re.findall(r"METERFABRIC_OPERATOR_([A-Z_]+)", text))
    known = set(Settings.__dataclass_fields__) | {"lease_name"}
    assert named <= {name.upper() for name in known}


def rules(text: str) -> list[dict[str, Any]]:
    """The rules of a template, with Helm's words taken out."""
    plain = re.sub(r"\{\{-? ?include \"meterfabric.cluster\" \. \}\}", "R", text)
    plain = re.sub(r"\{\{-? ?include \"meterfabric.name\" \. \}\}", "N", plain)
    found = re.findall(
        r"^ *- apiGroups: (\[.*\])\n *resources: (\[.*\])\n(?: *resourceNames: .*\n)? *verbs: (\[.*\])", plain, re.M
    )
    return [
        {"groups": yaml.safe_load(groups), "resources": yaml.safe_load(resources), "verbs": yaml.safe_load(verbs)}
        for groups, resources, verbs in found
    ]


def explained() -> set[tuple[str, str, str]]:
    """(group, resource, verb) of each row of the tables of what the operator may do."""
    part = SECURITY.partition("## What the operator may do")[2].partition("## What a pod")[0]
    found = set()
    for row in re.findall(r"^\| (.*) \|$", part, re.MULTILINE):
        group, resources, verbs, _why = [cell.strip() for cell in row.split(" | ")]
        for resource in resources.split(", "):
            for verb in verbs.split(", "):
                found.add((group.replace("(core)", ""), resource.partition(":")[0], verb))
    return found - {("group", "resource", "verbs")}


def test_every_right_is_explained_and_no_other() -> None:
    given = {
        (group, resource, verb)
        for rule in rules(RIGHTS)
        for group in rule["groups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert len(given) > 50
    assert given == explained()


def test_secrets_are_never_listed_and_nothing_is_a_wildcard() -> None:
    verbs = {verb for rule in rules(RIGHTS) if "secrets" in rule["resources"] for verb in rule["verbs"]}
    assert not verbs & {"list", "watch", "deletecollection", "*"}
    assert "'*'" not in RIGHTS
    assert '"*"' not in RIGHTS
    assert "escalate" not in RIGHTS
