"""Reaching what a sink in the cluster holds.

Every worker has the sink's URL in its environment, its fabric's trust bundle in a file, and this very command in its
image, whatever the destination. So an audit runs beside the records, in a worker's container, and only the verdict
travels. Whoever doubts what runs there audits here: PostgreSQL by its URL, files and SQLite by a copy of the volume.
A proof is verified here in any case.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from meterfabric_cli.errors import CommandError
from meterfabric_cli.in_cluster.fabrics import sink_view

CONTAINER: Final = "sink"
_MOUNTED: Final = "/etc/meterfabric/trust/trust.pem"
_OWN_BYTES: Final = 64 << 10
"""A bundle that is sent along is a word of the command."""
_KILLED: Final = 137


def chosen(sinks: Sequence[dict[str, Any]], named: str | None, namespace: str | None) -> dict[str, Any]:
    """The one that is meant: [NAMESPACE/]NAME, or the only one there is. Raises CommandError."""
    where, _, name = (named or "").rpartition("/")
    where = where or namespace or ""
    found = [
        each
        for each in sinks
        if (not name or each["metadata"]["name"] == name) and (not where or each["metadata"]["namespace"] == where)
    ]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in found or sinks)
    if not there:
        raise CommandError("no MeteringSink is there")
    raise CommandError(f"{'which one?' if found else f'no MeteringSink {named}.'} There are: {there}")


def selector(sink: Mapping[str, Any]) -> str:
    """The labels of its workers."""
    return f"meterfabric.io/sink={sink['metadata']['name']},app.kubernetes.io/component=sink"


def worker(sink: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> str:
    """The name of the pod to run a command in: one that is ready before one that only runs. Raises CommandError."""
    running = []
    for pod in pods:
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        own: Mapping[str, Any] = next((each for each in statuses if each["name"] == CONTAINER), {})
        if "running" in (own.get("state") or {}) and not pod["metadata"].get("deletionTimestamp"):
            running.append((not own.get("ready"), pod["metadata"]["name"]))
    if running:
        return str(min(running)[1])
    name = f"{sink['metadata']['namespace']}/{sink['metadata']['name']}"
    raise CommandError(f"no worker of the sink {name} runs; status tells why" + _hint(sink))


def _hint(sink: Mapping[str, Any]) -> str:
    return "; its database can be audited with --here" if sink_view(dict(sink)).destination == "postgres" else ""


def command(words: Sequence[str], trust: bytes | None = None) -> list[str]:
    """The command for a worker's container: `meterfabric WORDS` on the sink's own URL.

    ``trust``: a bundle to verify with, in place of what the cluster says; for `audit` alone. Raises CommandError where
    it is too long for that.
    """
    call = f'meterfabric {shlex.join(words)} --sink "$METERFABRIC_SINK_URL"'
    if words[0] != "audit":
        return ["sh", "-c", f"exec {call}"]
    if trust is None:
        return ["sh", "-c", f"exec {call} --trust {_MOUNTED}"]
    if len(trust) > _OWN_BYTES:
        raise CommandError(f"--trust: longer than {_OWN_BYTES} bytes can't be sent along; audit with --here")
    return ["sh", "-c", f'printf %s "$1" | {call} --trust /dev/stdin', "sh", trust.decode("ascii", "replace")]


def failed(code: int, err: bytes, where: str) -> CommandError:
    """What to say of a command that couldn't do what was asked."""
    if code == _KILLED:
        return CommandError(f"{where}: killed, it needs more memory: spec.resources.memory of the MeteringSink")
    said = err.decode(errors="replace").strip().splitlines()
    return CommandError(f"{where}: {said[-1].removeprefix('meterfabric: ') if said else f'exit code {code}'}")


def url_key(sink: Mapping[str, Any]) -> tuple[str, str] | str:
    """The URL of a PostgreSQL sink, or Secret and key that hold it. Raises CommandError for another destination."""
    postgres = sink["spec"]["destination"].get("postgres")
    if postgres is None:
        kind = sink_view(dict(sink)).destination
        raise CommandError(f"--here: a {kind} sink lies on its worker's volume; copy that, and audit {kind}:COPY")
    if "url" in postgres:
        return str(postgres["url"])
    return str(postgres["secretRef"]["name"]), str(postgres["secretRef"].get("key", "url"))
