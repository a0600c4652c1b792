"""What is applied: the whole package is in the ConfigMap, and the agent has the one right that it needs."""

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parents[2] / "examples" / "kube-usage"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((HERE / name).read_text()))


def test_the_whole_package_is_mounted() -> None:
    (made,) = documents("kustomization.yaml")
    (code,) = made["configMapGenerator"]
    assert sorted(code["files"]) == sorted(f"kube_usage/{file.name}" for file in (HERE / "kube_usage").glob("*.py"))
    assert sorted(made["resources"]) == sorted(f"manifests/{file.name}" for file in (HERE / "manifests").iterdir())


def test_the_agent_may_read_metrics_of_nodes_and_nothing_else() -> None:
    found = documents("manifests/rights.yaml")
    rules = [rule for each in found for rule in each.get("rules", [])]
    assert rules == [{"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}]


def test_no_second_agent_runs_on_a_node_while_one_is_replaced() -> None:
    (agents,) = documents("manifests/daemonset.yaml")
    assert agents["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert agents["spec"]["template"]["metadata"]["labels"]["meterfabric.io/inject"] == "true"
