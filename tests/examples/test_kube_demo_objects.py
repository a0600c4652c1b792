"""What the demo makes of the examples' files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_demo import objects
from kube_demo.objects import Images

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
IMAGES = Images("r.example/dataplane:1", "r.example:5000/operator:2", "r.example/postgres:3")


def documents() -> list[dict[str, Any]]:
    files = [*EXAMPLES.glob("kube-usage/manifests/*.yaml"), *EXAMPLES.glob("kube-usage/*.yaml")]
    files += EXAMPLES.glob("postgres/*.yaml")
    found = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    return [each for each in found if each["kind"] != "Kustomization"]


def test_every_namespace_is_marked_as_the_demos_and_so_is_the_operators() -> None:
    found = {each["metadata"]["name"]: each["metadata"]["labels"] for each in objects.namespaces(documents())}
    assert sorted(found) == ["kube-usage", "meterfabric-system", "metering", "shop"]
    assert {labels[objects.PART_OF] for labels in found.values()} == {objects.DEMO}
    assert found["kube-usage"]["meterfabric.io/fabric"] == "metering.main"


def test_no_other_image_is_left_and_nothing_but_the_interval_of_the_agent_is_changed() -> None:
    before = [each for each in documents() if each["kind"] != "Namespace"]
    after = objects.others(documents(), IMAGES)
    text = yaml.safe_dump_all(after)
    assert "image: meterfabric/" not in text
    assert text.count(objects.INTERVAL) == 1
    restored = text.replace(objects.INTERVAL, "--interval=60")
    restored = restored.replace(IMAGES.dataplane, "meterfabric/dataplane")
    assert list(yaml.safe_load_all(restored.replace(IMAGES.postgres, "meterfabric/postgres"))) == before


def test_everything_applied_is_in_a_namespace_that_the_demo_made_or_in_none() -> None:
    made = {each["metadata"]["name"] for each in objects.namespaces(documents())}
    for each in objects.others(documents(), IMAGES):
        namespace = each["metadata"].get("namespace")
        assert namespace in made or each["kind"].startswith("Cluster"), each


def test_the_chart_is_told_repository_and_tag_also_where_the_registry_has_a_port() -> None:
    assert IMAGES.values()[::2] == 4 * ["--set"]
    assert "image.operator.repository=r.example:5000/operator" in IMAGES.values()
    assert "image.operator.tag=2" in IMAGES.values()


@pytest.mark.parametrize(
    ("labels", "found"),
    [(None, ["shop"]), ({"team": "a"}, ["shop"]), ({objects.PART_OF: objects.DEMO}, [])],
)
def test_a_namespace_that_no_demo_made_is_told(labels: dict[str, str] | None, found: list[str]) -> None:
    metadata = {"name": "shop"} | ({"labels": labels} if labels else {})
    assert objects.foreign([{"metadata": metadata}]) == found
