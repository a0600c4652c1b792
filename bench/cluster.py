"""A real Kubernetes with Meterfabric installed by its charts, as the tests on a cluster make it, for measurements.

CLUSTER=NAME in the environment takes one that is up; what is measured leaves thousands of objects in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import processes
from bench.report import progress, say
from meterfabric_operator.objects import Object
from tests.cluster import cluster, versions
from tests.kubernetes.installed import SYSTEM, Installed, images, install_kinds

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
MIB = 2**20


@contextmanager
def running() -> Iterator[Installed]:
    """A cluster with the kinds and the images, for as long as the block lasts."""
    held = os.environ.get("CLUSTER")
    if held:
        made = cluster.find(held, progress)
        install_kinds(made)
        yield images(made)
        return
    version = os.environ.get("KUBERNETES") or versions.DEFAULT
    with cluster.temporary("bench", version, 1, progress) as made:
        say("kubernetes", made.plan.version, "", "API server, etcd and node on this machine")
        install_kinds(made)
        yield images(made)


def operator_pods(installed: Installed) -> list[str]:
    """The names of the operator's pods."""
    return installed.names("pod", SYSTEM, "app.kubernetes.io/component=operator")


def process_of(pod: Object, word: str) -> int:
    """The process of this machine that runs in a pod and has `word` in its command line. Raises LookupError."""
    uid = pod["metadata"]["uid"]
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                inside = uid in (folder / "cgroup").read_text().replace("_", "-")
                if inside and word in (folder / "cmdline").read_text(errors="replace"):
                    return int(folder.name)
            except OSError:
                continue
    raise LookupError(f"pod {pod['metadata']['name']} runs no {word} on this machine")


def say_memory(name: str, pid: int) -> None:
    """Print what a container's process holds."""
    held = processes.memory(pid)
    more = {"PSS": held.pss, "its container's working set": _working_set(pid), "RSS at its most": processes.peak(pid)}
    say(name, held.rss / MIB, "MiB", "RSS; " + ", ".join(f"{what} {size / MIB:.1f}" for what, size in more.items()))


def _working_set(pid: int) -> int:
    """What the kubelet counts: the cgroup's memory without files' pages that nobody used lately."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    folder, usage, inactive = _V2 / paths.get("", "/").lstrip("/"), "memory.current", "inactive_file"
    if "memory" in paths:
        folder, usage, inactive = _V1 / paths["memory"].lstrip("/"), "memory.usage_in_bytes", "total_inactive_file"
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int((folder / usage).read_text()) - int(stat[inactive])
