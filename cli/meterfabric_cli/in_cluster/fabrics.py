"""Fabrics and their sinks as their objects say: conditions, counts, books. No I/O: objects in, a view out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from meterfabric_cli.colours import Painted, good_or_bad
from meterfabric_cli.table import Cell, table

_RARE = ("expired", "damaged", "lost", "missing", "abandoned", "unexplained")
_UNKNOWN = "Unknown"


class Condition(msgspec.Struct, frozen=True):
    """A condition as the operator wrote it."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class SinkView(msgspec.Struct, frozen=True):
    """One MeteringSink. `ready` is the status of its condition Ready; `books` is None where none were gathered."""

    namespace: str
    name: str
    destination: str
    required: bool
    ready: str
    workers: int
    workers_ready: int
    books: dict[str, Any] | None
    conditions: list[Condition]


class FabricView(msgspec.Struct, frozen=True):
    """One MeteringFabric with its sinks. `stale`: the operator has not yet looked at what was last written."""

    namespace: str
    name: str
    ready: str
    stale: bool
    relays: int
    relays_ready: int
    namespaces: list[str]
    injected: int
    missing: int
    certificate_expiry: str
    books: dict[str, Any] | None
    conditions: list[Condition]
    sinks: list[SinkView]

    @property
    def id(self) -> str:
        """NAMESPACE.NAME, as namespaces name it that join it."""
        return f"{self.namespace}.{self.name}"

    @property
    def well(self) -> bool:
        """Whether it and all its sinks are ready, and every condition of it holds."""
        return (
            self.ready == "True"
            and not self.stale
            and all(each.status == "True" for each in self.conditions)
            and all(sink.ready == "True" for sink in self.sinks)
        )


def views(fabrics: Iterable[dict[str, Any]], sinks: Iterable[dict[str, Any]]) -> list[FabricView]:
    """Each fabric with the sinks that name it, sorted by name."""
    of_fabric: dict[tuple[str, str], list[SinkView]] = {}
    for body in sinks:
        view = sink_view(body)
        of_fabric.setdefault((view.namespace, str(body["spec"].get("fabric", ""))), []).append(view)
    made = [_fabric_view(body, of_fabric) for body in fabrics]
    return sorted(made, key=lambda each: (each.namespace, each.name))


def sink_view(body: dict[str, Any]) -> SinkView:
    """The view of one sink."""
    spec, status = body["spec"], body.get("status") or {}
    workers, conditions = status.get("workers") or {}, _conditions(status)
    return SinkView(
        namespace=body["metadata"]["namespace"],
        name=body["metadata"]["name"],
        destination=next(iter(spec.get("destination") or {}), "none"),
        required=bool(spec.get("required", True)),
        ready=_ready(conditions),
        workers=int(spec.get("workers", 1)),
        workers_ready=int(workers.get("ready", 0)),
        books=status.get("books"),
        conditions=conditions,
    )


def _fabric_view(body: dict[str, Any], sinks: dict[tuple[str, str], list[SinkView]]) -> FabricView:
    metadata, status = body["metadata"], body.get("status") or {}
    relays, producers, conditions = status.get("relays") or {}, status.get("producers") or {}, _conditions(status)
    relay = body["spec"].get("relay") or {}
    return FabricView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        ready=_ready(conditions),
        stale=status.get("observedGeneration") != metadata.get("generation"),
        relays=int(relay.get("replicas", relays.get("replicas", 0))),
        relays_ready=int(relays.get("ready", 0)),
        namespaces=list(producers.get("namespaces") or []),
        injected=int(producers.get("injected", 0)),
        missing=int(producers.get("missing", 0)),
        certificate_expiry=str(status.get("certificateExpiry", "")),
        books=status.get("books"),
        conditions=conditions,
        sinks=sorted(sinks.get((metadata["namespace"], metadata["name"]), []), key=lambda each: each.name),
    )


def _conditions(status: dict[str, Any]) -> list[Condition]:
    return [msgspec.convert(each, Condition) for each in status.get("conditions") or []]


def _ready(conditions: Iterable[Condition]) -> str:
    return next((each.status for each in conditions if each.type == "Ready"), _UNKNOWN)


def as_text(found: list[FabricView], colours: bool) -> str:
    """A table of fabrics, one of sinks, and a line for all that isn't as it should be."""
    rows = [_fabric_row(each) for each in found]
    text = table(
        ["fabric", "ready", "relays", "producers", "accepted", "delivered", "pending", "oldest"], rows, colours
    )
    sinks = [sink for fabric in found for sink in fabric.sinks]
    if sinks:
        heads = ["sink", "ready", "destination", "workers", "delivered", "pending", "oldest"]
        text += "\n" + table(heads, [_sink_row(sink) for sink in sinks], colours)
    wrong = [line for fabric in found for line in _wrong(fabric)]
    return text + ("\n" + "".join(f"{line}\n" for line in wrong) if wrong else "")


def _fabric_row(each: FabricView) -> list[Cell]:
    missing = f" (+{each.missing} without a sidecar)" if each.missing else ""
    return [
        f"{each.namespace}/{each.name}",
        good_or_bad(each.ready, each.ready == "True"),
        good_or_bad(f"{each.relays_ready}/{each.relays}", each.relays_ready >= each.relays),
        Painted(f"{each.injected}{missing}", "red" if missing else ""),
        *_books(each.books, ("accepted", "delivered", "pending")),
    ]


def _sink_row(each: SinkView) -> list[Cell]:
    return [
        f"{each.namespace}/{each.name}",
        good_or_bad(each.ready, each.ready == "True"),
        each.destination + ("" if each.required else " (optional)"),
        good_or_bad(f"{each.workers_ready}/{each.workers}", each.workers_ready >= each.workers),
        *_books(each.books, ("delivered", "pending")),
    ]


def _books(books: dict[str, Any] | None, fates: Iterable[str]) -> list[Cell]:
    if books is None:
        return [*("-" for _ in fates), "-"]
    return [*(int(books.get(fate, 0)) for fate in fates), str(books.get("oldestPending", "-"))]


def _wrong(fabric: FabricView) -> list[str]:
    name = f"{fabric.namespace}/{fabric.name}"
    lines = []
    if fabric.stale:
        lines.append(f"{name}: the operator has not looked at its newest version; is it running?")
    lines += _untrue(name, fabric.conditions)
    if fabric.books is None:
        lines.append(f"{name}: no books were gathered from its sinks yet")
    else:
        rare = [f"{fate} {int(fabric.books[fate]):,}" for fate in _RARE if fabric.books.get(fate)]
        lines += [f"{name}: {', '.join(rare)} records; audit tells which"] if rare else []
        lines += [
            f"{name}: pod {each['pod']} was gone before its log was closed, {int(each['records']):,} records abandoned"
            for each in fabric.books.get("abandonedBy") or []
        ]
    for sink in fabric.sinks:
        lines += _untrue(f"sink {sink.namespace}/{sink.name}", sink.conditions)
    return lines


def _untrue(name: str, conditions: Iterable[Condition]) -> list[str]:
    """Conditions that don't hold; Ready only where no other says why."""
    failed = [each for each in conditions if each.status != "True"]
    told = [each for each in failed if each.type != "Ready"] or failed
    return [f"{name}: {each.type} is {each.status} ({each.reason}): {each.message}" for each in told]
