"""The chart of the kinds: it holds those kinds, packed or not."""

from typing import Any

import pytest
import yaml

from tests.charts.helm import CHARTS, ROOT, Helm

pytestmark = pytest.mark.cluster


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
