"""From an empty cluster to a fabric with a meter in it; each step is one that may be repeated."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kube_demo import objects, seen
from kube_demo.ground import ROOT, Ground
from kube_demo.terminal import Commands, DemoFailed

EXAMPLES = ROOT / "examples"
CHARTS = ROOT / "charts"
METERING, AGENTS = "metering", "kube-usage"
SECONDS = 300
"""How long a step may take: nodes may have to pull images."""


@dataclass(frozen=True)
class Examples:
    """The documents of the examples' files."""

    database: list[objects.Object]
    fabric: list[objects.Object]
    tenants: list[objects.Object]
    agent: list[objects.Object]

    @property
    def namespaces(self) -> list[objects.Object]:
        """All that the demo makes."""
        return objects.namespaces([*self.fabric, *self.tenants, *self.agent])


def install(ground: Ground, folder: Path) -> None:
    """Everything, until each node's agent runs with its sidecar. Raises DemoFailed."""
    commands, examples = ground.commands, _examples(ground.commands)
    _refuse_foreign(commands, examples)

    def apply(name: str, documents: Sequence[objects.Object]) -> None:
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        commands.run("kubectl", "apply", "--filename", short(file))

    try:
        commands.say("Meterfabric, by its Helm charts: the kinds, then the operator")
        apply("namespaces", examples.namespaces)
        _helm(commands, "meterfabric-crds")
        _helm(commands, "meterfabric", *ground.images.values())
        commands.say("PostgreSQL in a pod: where the usage will be billed from")
        _make_secret(commands)
        apply("database", objects.others(examples.database, ground.images))
        _roll_out(commands, METERING, "deployment/database")
        commands.say("A MeteringFabric with two relays, and a MeteringSink in that PostgreSQL")
        apply("fabric", objects.others(examples.fabric, ground.images))
        ready = ("--for=condition=Ready", "meteringfabric/main", "meteringsink/billing", f"--timeout={SECONDS}s")
        commands.run("kubectl", "wait", "--namespace", METERING, *ready)
        commands.say("Two pods of a shop, to be metered, and the meter: an agent on each node that reads its kubelet")
        apply("tenants", objects.others(examples.tenants, ground.images))
        apply("agent", objects.others(examples.agent, ground.images))
        _roll_out(commands, AGENTS, "daemonset/kube-usage")
        _show_injected(commands)
    except DemoFailed as error:
        raise DemoFailed("\n".join([str(error), *_troubles(commands, examples)])) from error


def uninstall(commands: Commands) -> None:
    """Remove all that `install` made, in order, but the kinds. Raises DemoFailed."""
    there = _existing(commands, _examples(commands))
    names = {each["metadata"]["name"] for each in there}.difference(objects.foreign(there))
    if not names:
        commands.tell("no demo is here")
        return
    delete = ("kubectl", "delete", "--ignore-not-found", f"--timeout={SECONDS}s")
    own = names & {METERING, objects.SYSTEM}
    # Who meters goes first, while there is somebody to deliver to.
    if names - own:
        commands.run(*delete, "namespace", *sorted(names - own))
    if METERING in own:
        commands.run(*delete, "--namespace", METERING, "meteringfabric/main", "meteringsink/billing")
    if objects.SYSTEM in own:
        for release in ("meterfabric", "meterfabric-crds"):
            where = ("--namespace", objects.SYSTEM, "--ignore-not-found", "--wait")
            commands.run("helm", "uninstall", release, *where, quiet=True)
    if own:
        commands.run(*delete, "namespace", *sorted(own))
    commands.tell("The kinds stay: kubectl delete crd meteringfabrics.meterfabric.io meteringsinks.meterfabric.io")


def pods(commands: Commands, namespace: str, selector: str = "") -> list[Any]:
    """The pods of a namespace."""
    chosen = ["--selector", selector] if selector else []
    said = commands.ask("kubectl", "get", "pods", "--namespace", namespace, *chosen, "--output", "json")
    found: list[Any] = json.loads(said)["items"]
    return found


def _helm(commands: Commands, chart: str, *options: str) -> None:
    where = ("--namespace", objects.SYSTEM, "--wait", f"--timeout={SECONDS}s")
    commands.run("helm", "upgrade", "--install", chart, short(CHARTS / chart), *where, *options, quiet=True)


def _roll_out(commands: Commands, namespace: str, what: str) -> None:
    commands.run("kubectl", "rollout", "status", "--namespace", namespace, what, f"--timeout={SECONDS}s")


def _make_secret(commands: Commands) -> None:
    """The database's password and URL, made once."""
    secret = ("secret", "generic", "database", "--namespace", METERING)
    if commands.holds("kubectl", "get", "secret", "database", "--namespace", METERING):
        return
    password = secrets.token_hex(16)
    values = {"password": password, "url": f"postgresql://usage:{password}@database.{METERING}.svc/postgres"}
    commands.run(
        *("kubectl", "create", *secret, *(f"--from-literal={key}={value}" for key, value in values.items())),
        spoken=" ".join(["kubectl create", *secret, "--from-literal=password=… --from-literal=url=postgresql://…"]),
    )


def _show_injected(commands: Commands) -> None:
    """Show what was put into the agents' pods; one that was made before injection acted is made anew."""

    def injected() -> tuple[bool, str]:
        plain = seen.without_sidecar(pods(commands, AGENTS))
        if plain:
            commands.ask("kubectl", "delete", "pod", "--namespace", AGENTS, *plain)
        return not plain, "its pod has none yet"

    commands.wait("a sidecar beside the agent", SECONDS, injected)
    _roll_out(commands, AGENTS, "daemonset/kube-usage")
    for pod in pods(commands, AGENTS):
        commands.tell(seen.containers(pod))


def _refuse_foreign(commands: Commands, examples: Examples) -> None:
    names = objects.foreign(_existing(commands, examples))
    if names:
        raise DemoFailed(
            f"this cluster has {', '.join(names)} already, which no demo made and which this one would change:"
            " use another cluster, or delete what you don't need"
        )


def _existing(commands: Commands, examples: Examples) -> list[Any]:
    """Those of the demo's namespaces that are there."""
    names = [each["metadata"]["name"] for each in examples.namespaces]
    said = commands.ask("kubectl", "get", "namespace", *names, "--ignore-not-found", "--output", "json")
    found: dict[str, Any] = json.loads(said) if said.strip() else {"items": []}
    return list(found["items"]) if "items" in found else [found]


def _troubles(commands: Commands, examples: Examples) -> list[str]:
    return [line for each in examples.namespaces for line in seen.troubles(pods(commands, each["metadata"]["name"]))]


def _examples(commands: Commands) -> Examples:
    folder = EXAMPLES / "kube-usage"
    return Examples(
        database=_read(EXAMPLES / "postgres" / "database.yaml"),
        fabric=_read(folder / "fabric.yaml"),
        tenants=_read(folder / "tenants.yaml"),
        agent=_parse(commands.ask("kubectl", "kustomize", str(folder))),
    )


def _read(file: Path) -> list[objects.Object]:
    return _parse(file.read_text())


def _parse(text: str) -> list[objects.Object]:
    return [each for each in yaml.safe_load_all(text) if each]


def short(path: Path) -> str:
    """As it is typed in the tree's top folder."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
