"""Pods that meter: which lag, and why. No I/O: pods and what their sidecars say of themselves in, a view out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from meterfabric_cli.colours import Painted
from meterfabric_cli.table import Cell, table

FABRIC: Final = "meterfabric.io/fabric"
"""Label of a namespace: the fabric that it joined, NAMESPACE.NAME."""
SELECTOR: Final = "meterfabric.io/inject=true"
"""Pods that ask for a sidecar."""
SIDECAR: Final = "meterfabric"
"""The sidecar's name among a pod's init containers."""
PAGES: Final = 8290
"""Its port, for who isn't in the pod."""
LAG_SECONDS: Final = 60.0
"""A record that waits longer makes its pod one that lags."""

_COLOURS: Final = {"delivering": "green", "starting": "dim", "lagging": "yellow", "unknown": "yellow"}


class Waiting(msgspec.Struct, frozen=True):
    """What one sink lacks of a pod."""

    sink: str
    records: int
    oldest_seconds: float


class Producer(msgspec.Struct, frozen=True):
    """One pod. `state`: delivering, lagging, starting, unknown, or what is wrong in two words; `why` in a sentence.

    `accepted` counts since the sidecar's start; None where the sidecar couldn't be asked.
    """

    namespace: str
    pod: str
    fabric: str
    node: str
    state: str
    why: str
    accepted: int | None = None
    waiting: list[Waiting] = []

    @property
    def well(self) -> bool:
        """Whether nothing is to be done about it."""
        return self.state in ("delivering", "starting")


Answer = dict[str, Any] | str
"""A sidecar's page /status, or why it couldn't be had."""


def metering(pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that haven't ended."""
    return [each for each in pods if (each.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]


def has_sidecar(pod: Mapping[str, Any]) -> bool:
    """Whether a sidecar was put into it."""
    return any(each["name"] == SIDECAR for each in pod["spec"].get("initContainers") or [])


def is_up(pod: Mapping[str, Any]) -> bool:
    """Whether its sidecar runs, so that it can be asked."""
    return has_sidecar(pod) and bool((_sidecar(pod).get("state") or {}).get("running"))


def producer(pod: Mapping[str, Any], fabric: str, answer: Answer | None) -> Producer:
    """The view of a pod. `fabric`: its namespace's, or empty; `answer`: its sidecar's, where that is up."""
    state, why = _state(pod, fabric, answer)
    metadata = pod["metadata"]
    told = answer if isinstance(answer, dict) else {}
    return Producer(
        namespace=metadata["namespace"],
        pod=metadata["name"],
        fabric=fabric,
        node=pod["spec"].get("nodeName", ""),
        state=state,
        why=why,
        accepted=int(told["accepted"]) if "accepted" in told else None,
        waiting=_waiting(told),
    )


def _sidecar(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    found: Mapping[str, Any] = next((each for each in statuses if each["name"] == SIDECAR), {})
    return found


def _state(pod: Mapping[str, Any], fabric: str, answer: Answer | None) -> tuple[str, str]:
    if not has_sidecar(pod):
        return "no sidecar", _why_none(pod, fabric)
    if answer is None:
        return _not_up(_sidecar(pod), (pod.get("status") or {}).get("phase", "Pending"))
    if isinstance(answer, str):
        return "unknown", answer
    return _of_page(answer)


def _why_none(pod: Mapping[str, Any], fabric: str) -> str:
    if pod["spec"].get("hostNetwork"):
        return "pods on the host's network get none"
    if not fabric:
        return f"its namespace joined no fabric; label it {FABRIC}=NAMESPACE.NAME, then delete the pod"
    return "made while no sidecar was put in; delete it, so that it is made anew"


def _not_up(sidecar: Mapping[str, Any], phase: str) -> tuple[str, str]:
    state, last = sidecar.get("state") or {}, (sidecar.get("lastState") or {}).get("terminated") or {}
    waiting = state.get("waiting") or {}
    if last or state.get("terminated"):
        ended = last or state["terminated"]
        return "sidecar ends", f"{waiting.get('reason', ended.get('reason', 'ended'))}, exit code {ended['exitCode']}"
    reason = waiting.get("reason", phase)
    if reason in ("PodInitializing", "ContainerCreating", "Pending"):
        return "starting", ""
    return "cannot start", f"{reason}: {waiting.get('message', '')}".rstrip(": ")


def _of_page(page: Mapping[str, Any]) -> tuple[str, str]:
    spool, waiting = page["spool"], _waiting(page)
    if spool["failure"]:
        return "disk fails", str(spool["failure"])
    late = [each for each in waiting if each.oldest_seconds > LAG_SECONDS]
    why = _why_late(page, late or waiting)
    if spool["full"]:
        return "spool full", why or "records are refused until a sink takes some"
    if not page["enrolled"]:
        # Acceptance never waits for a certificate, delivery does.
        return ("not enrolled" if late else "starting"), str(page["enrolment"])
    if late:
        return "lagging", why
    return "delivering", ""


def _waiting(page: Mapping[str, Any]) -> list[Waiting]:
    return [
        Waiting(name, int(sink["pending"]["records"]), float(sink["pending"]["oldest_seconds"]))
        for name, sink in sorted(page.get("sinks", {}).items())
        if sink["pending"]["records"]
    ]


def _why_late(page: Mapping[str, Any], late: Iterable[Waiting]) -> str:
    up = {name: relay for name, relay in page["relays"].items() if relay["up"]}
    sinks = [each.sink for each in late]
    if not sinks:
        return ""
    if not up:
        return "no relay can be reached" if page["relays"] else "no relay is known"
    served = {sink for relay in up.values() for sink in relay["sinks"]}
    if away := [sink for sink in sinks if sink not in served]:
        return f"no relay has a worker of {', '.join(away)}"
    tried = [log["sinks"][sink]["failures"] for log in page["logs"] for sink in sinks if sink in log["sinks"]]
    if failures := max(tried, default=0):
        return f"{', '.join(sinks)} gave no receipt, {failures} times now"
    return f"{', '.join(sinks)} takes less than is sent"


def as_text(found: list[Producer], colours: bool) -> str:
    """A line for each pod; what is wrong first."""
    order = sorted(found, key=lambda each: (each.well, each.namespace, each.pod))
    rows: list[list[Cell]] = [
        [
            f"{each.namespace}/{each.pod}",
            each.fabric or "-",
            Painted(each.state, _COLOURS.get(each.state, "red")),
            "-" if each.accepted is None else each.accepted,
            "-" if each.accepted is None else max((one.records for one in each.waiting), default=0),
            _age(max((one.oldest_seconds for one in each.waiting), default=None)),
            each.why,
        ]
        for each in order
    ]
    return table(["pod", "fabric", "state", "accepted", "pending", "oldest", "why"], rows, colours)


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f}s" if seconds < 120 else f"{seconds / 60:.0f}m"
