"""What a cluster is made of: Go modules, each locked by a go.mod and a go.sum in a folder of go/.

The versions are read from those files, so that they are named once.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

GO = Path(__file__).parent / "go"
DEFAULT = "1.37.2"
"""The Kubernetes that is meant where none is named."""

KUBERNETES = (
    "kubelet",
    "kube-controller-manager",
    "kube-apiserver",
    "kube-scheduler",
    "kube-proxy",
    "kubectl",
)
_VERSION = "k8s.io/component-base/version"


class UnknownVersion(Exception):
    """A Kubernetes that has no folder in go/; the message says how to add it."""


@dataclass(frozen=True)
class Component:
    """One module and the programs that are built from it.

    `source`: its folder in go/. `folder`: the name of its folder in the cache. `programs`: name of each program and its
    package. `tags`, `flags`: for `go build` and for the linker.
    """

    source: Path
    folder: str
    programs: dict[str, str]
    tags: str = ""
    flags: str = "-s -w"


def known() -> list[str]:
    """The versions of Kubernetes that have a folder, newest first."""
    found = [path.name.removeprefix("kubernetes-") for path in GO.glob("kubernetes-*")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")], reverse=True)


def minor(version: str) -> int:
    """37 of 1.37.2."""
    return int(version.split(".")[1])


def components(version: str) -> list[Component]:
    """Everything that a cluster of this Kubernetes runs, the slowest to build first. Raises UnknownVersion."""
    if version not in known():
        raise UnknownVersion(
            f"Kubernetes {version}: only {', '.join(known())} are locked here; "
            f"`python -m tests.cluster lock {version}` adds it"
        )
    stamp = {"gitVersion": f"v{version}", "gitMajor": "1", "gitMinor": str(minor(version))}
    return [
        Component(
            source=GO / f"kubernetes-{version}",
            folder=version,
            programs={name: f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES},
            flags=" ".join(["-s -w", *(f"-X {_VERSION}.{key}={value}" for key, value in stamp.items())]),
        ),
        _module("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
        _module(
            "containerd",
            "github.com/containerd/containerd/v2",
            {
                name: f"github.com/containerd/containerd/v2/cmd/{name}"
                for name in ("containerd", "containerd-shim-runc-v2", "ctr")
            },
            tags="no_btrfs,no_zfs,no_devmapper",
        ),
        _module("coredns", "github.com/coredns/coredns", {"coredns": "."}),
        _module("helm", "helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"}),
        helper(),
    ]


def helper() -> Component:
    """The program of ours (go/helper), named by what its source holds."""
    source = GO / "helper"
    digest = hashlib.sha256((source / "main.go").read_bytes()).hexdigest()[:12]
    return Component(source=source, folder=f"helper-{digest}", programs={"helper": "."})


def registry() -> Component:
    """A registry of images, for tests of what is pushed and pulled; no cluster runs one by itself."""
    return _module("registry", "github.com/google/go-containerregistry", {"registry": "."})


def _module(name: str, module: str, programs: dict[str, str], tags: str = "") -> Component:
    text = (GO / name / "go.mod").read_text()
    found = re.search(rf"{re.escape(module)} v(\S+)", text)
    if found is None:
        raise ValueError(f"go/{name}/go.mod requires no {module}")
    return Component(source=GO / name, folder=f"{name}-{found[1]}", programs=programs, tags=tags)
