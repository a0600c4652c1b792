"""Where the demo runs: in a Kubernetes of this machine's own, or in the cluster of the current context.

The one that a KUBECONFIG names is used only when it is asked for.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from kube_demo.objects import Images
from kube_demo.seen import lacking
from kube_demo.terminal import Commands, DemoFailed

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("dataplane", "operator", "postgres")
_CLUSTER = (sys.executable, "-m", "tests.cluster")
INSTEAD = """Instead, on a cluster that you have: make demo CLUSTER=current REGISTRY=registry.example/me
Or without any:                      make demo-local"""


@dataclass(frozen=True)
class Ground:
    """`commands` find kubectl, helm and kubectl-meterfabric, and by them the cluster; `environment`: what of their
    variables a person sets to do the same."""

    commands: Commands
    images: Images
    environment: dict[str, str]
    down: str


def start(folder: Path) -> Commands:
    """Commands that know no cluster yet."""
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', os.defpath)}"
    return Commands(folder, environment)


def check() -> None:
    """Raises DemoFailed where this machine can't run a cluster whatever is installed."""
    try:
        start(ROOT).ask(*_CLUSTER, "check")
    except DemoFailed as error:
        raise DemoFailed(f"{error}\n{INSTEAD}") from error


def own(name: str) -> Ground:
    """A cluster of one node, made unless it is up, that holds the images."""
    commands = start(ROOT)
    commands.say("A Kubernetes of this machine's own, with one node")
    try:
        _cluster(commands, "up", "--name", name, "--keep")
    except DemoFailed as error:
        raise DemoFailed(f"no cluster came up here. {INSTEAD}") from error
    kubeconfig = commands.ask(*_CLUSTER, "kubeconfig", "--name", name).strip()
    programs = dict(line.split("\t") for line in commands.ask(*_CLUSTER, "build").splitlines())
    environment = {"KUBECONFIG": kubeconfig, "PATH": _search(programs["kubectl"], programs["helm"])}
    commands = commands.within(**environment)
    commands.say("Images of the Dockerfiles here, built without a daemon, given to the node without a registry")
    made = [line.split("\t") for line in _cluster(commands, "image", *NAMES).splitlines()]
    nodes = json.loads(commands.ask("kubectl", "get", "nodes", "--output", "json"))["items"]
    missing = lacking(nodes, [name for name, _ in made])
    if missing:
        _cluster(commands, "load-image", "--name", name, *(archive for image, archive in made if image in missing))
    else:
        commands.tell("it has them")
    return Ground(commands, Images(*(image for image, _ in made)), environment, "make demo-down")


def reached() -> tuple[Commands, dict[str, str]]:
    """Commands that reach the current context's cluster, and the variables that they were given. Raises DemoFailed."""
    commands = start(ROOT)
    environment = {}
    if "KUBECONFIG" in os.environ:
        environment["KUBECONFIG"] = os.environ["KUBECONFIG"]
    absent = [name for name in ("kubectl", "helm") if shutil.which(name) is None]
    if absent:
        built = _cluster(commands, "build", *absent)
        environment["PATH"] = _search(*(line.split("\t")[1] for line in built.splitlines()))
    else:
        environment["PATH"] = _search()
    commands = commands.within(**environment)
    problems = _cluster_problems(commands)
    if problems:
        raise _lacks(problems)
    context = commands.ask("kubectl", "config", "current-context").strip()
    server = commands.ask("kubectl", "config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}")
    commands.tell(f"{context}, {server}")
    return commands, environment


def current(registry: str, tag: str) -> Ground:
    """The current context's cluster, with images from a registry: those of a tag that is there, or pushed now."""
    problems = _image_problems(registry, tag)
    if problems:
        raise _lacks(problems)
    start(ROOT).say("The cluster of your current context")
    commands, environment = reached()
    if tag:
        names = [f"{registry}/{name}:{tag}" for name in NAMES]
    else:
        commands.say(f"Images of the Dockerfiles here, built without a daemon, pushed to {registry}")
        names = _cluster(commands, "image", *NAMES, "--push", registry).splitlines()
    return Ground(commands, Images(*names), environment, "make demo-down CLUSTER=current")


def remove(name: str) -> None:
    """Take the own cluster down. Nothing to do where there is none."""
    _cluster(start(ROOT), "down", "--name", name)


def _lacks(problems: list[str]) -> DemoFailed:
    return DemoFailed("\n".join(["CLUSTER=current lacks", *(f"  {each}" for each in problems)]))


def _cluster_problems(commands: Commands) -> list[str]:
    if not commands.holds("kubectl", "config", "current-context"):
        return ["a current context: set KUBECONFIG, or `kubectl config use-context NAME`"]
    try:
        commands.ask("kubectl", "get", "--raw", "/version", "--request-timeout=15s")
    except DemoFailed as error:
        return [f"a cluster that answers: {error}"]
    may = ("kubectl", "auth", "can-i", "create", "clusterrolebindings.rbac.authorization.k8s.io")
    return [] if commands.holds(*may) else ["the rights of an administrator: it makes namespaces, roles and kinds"]


def _image_problems(registry: str, tag: str) -> list[str]:
    if not registry:
        return ["REGISTRY=registry.example/me: images are pushed there and your nodes pull them from there"]
    if not tag and os.geteuid() != 0:
        return [
            f"root, to build images here; or build {', '.join(NAMES)} with any builder (README, Images),"
            f" push them as {registry}/NAME:TAG, and say TAG=TAG"
        ]
    return []


def _cluster(commands: Commands, *words: str) -> str:
    return commands.run(*_CLUSTER, *words, spoken=shlex.join(["python", *_CLUSTER[1:], *words]))


def _search(*programs: str) -> str:
    folders = dict.fromkeys(str(Path(each).parent) for each in (sys.executable, *programs))
    return ":".join([*folders, os.environ.get("PATH", os.defpath)])
