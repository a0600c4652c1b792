"""What the demo applies: the examples' own files, with the images that it has and marked as the demo's. No I/O."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

PART_OF = "app.kubernetes.io/part-of"
DEMO = "meterfabric-demo"
"""The label of every namespace that a demo made, so that it changes nothing in another's."""
SYSTEM = "meterfabric-system"
INTERVAL = "--interval=5"
"""A demo's reader doesn't wait a minute for the first usage."""


@dataclass(frozen=True)
class Images:
    """The images' names, tags and all."""

    dataplane: str
    operator: str
    postgres: str

    def of(self, name: str) -> str:
        """The one that an example's file calls so; another name as it is."""
        return {"meterfabric/dataplane": self.dataplane, "meterfabric/postgres": self.postgres}.get(name, name)

    def values(self) -> list[str]:
        """Options of helm for the chart."""
        options = []
        for key, image in (("operator", self.operator), ("dataplane", self.dataplane)):
            repository, _, tag = image.rpartition(":")
            options += ["--set", f"image.{key}.repository={repository}", "--set", f"image.{key}.tag={tag}"]
        return options


def namespaces(documents: Iterable[Object]) -> list[Object]:
    """The operator's namespace and those of the documents, marked as the demo's."""
    found: list[Object] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}]
    found += [copy.deepcopy(each) for each in documents if each["kind"] == "Namespace"]
    for each in found:
        each["metadata"].setdefault("labels", {})[PART_OF] = DEMO
    return found


def others(documents: Iterable[Object], images: Images) -> list[Object]:
    """The documents that are no namespaces, with these images; the agent looks more often than it says."""
    found = [copy.deepcopy(each) for each in documents if each["kind"] != "Namespace"]
    for each in found:
        for container in _containers(each):
            container["image"] = images.of(container["image"])
            if "args" in container:
                container["args"] = [INTERVAL if word.startswith("--interval=") else word for word in container["args"]]
    return found


def foreign(existing: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the namespaces that no demo made."""
    return [
        each["metadata"]["name"] for each in existing if (each["metadata"].get("labels") or {}).get(PART_OF) != DEMO
    ]


def _containers(document: Object) -> list[Object]:
    spec = document.get("spec", {})
    pod = spec.get("template", {}).get("spec", spec) if document["kind"] in ("Deployment", "DaemonSet") else spec
    found: list[Object] = pod.get("containers", []) if document["kind"] in ("Deployment", "DaemonSet", "Pod") else []
    return found
