"""Adds a version of Kubernetes: a go.mod that pins it and, at the same version, each module of its staging folder."""

import json
import os
import re
import subprocess
from typing import Any

from tests.cluster import versions


def lock(version: str) -> None:
    """Write go/kubernetes-VERSION. Raises CalledProcessError where the module proxy doesn't serve that version."""
    folder = versions.GO / f"kubernetes-{version}"
    answer: Any = json.loads(_go("mod", "download", "-json", f"k8s.io/kubernetes@v{version}"))
    with open(answer["GoMod"], encoding="utf-8") as file:
        text = file.read()
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text(go_mod(version, text), encoding="utf-8")
    _go("-C", str(folder), "mod", "tidy")


def go_mod(version: str, upstream: str) -> str:
    """Our go.mod, from the text of Kubernetes' own."""
    language = re.search(r"^go (\S+)$", upstream, re.MULTILINE)
    if language is None:
        raise ValueError(f"the go.mod of Kubernetes {version} names no Go")
    staged = sorted(set(re.findall(r"(k8s\.io/[a-z0-9-]+) => \./staging", upstream)))
    tools = "".join(f"\tk8s.io/kubernetes/cmd/{name}\n" for name in sorted(versions.KUBERNETES))
    replaced = "".join(f"\t{name} => {name} v0.{version.removeprefix('1.')}\n" for name in staged)
    return (
        f"module meterfabric.io/tests/cluster/kubernetes\n\ngo {language[1]}\n\n"
        f"require k8s.io/kubernetes v{version}\n\ntool (\n{tools})\n\nreplace (\n{replaced})\n"
    )


def _go(*arguments: str) -> str:
    environment = {"GOTOOLCHAIN": "local", **os.environ}
    return subprocess.run(["go", *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
