"""What kopf watches, and what each event makes us look at: a thin shell that keeps the newest state and fills a queue.

Only indexes and `on.event` are used: kopf then writes nothing into objects, neither finalizers nor annotations of its
own. It calls no event's handler before every kind was listed and indexed, so the first such call tells that the whole
picture is there. Nobody may act before that: what isn't known yet would look as if it were gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from meterfabric_operator import signer
from meterfabric_operator.kinds import FABRIC_CHILDREN, Kind
from meterfabric_operator.objects import FABRIC, GROUP, INJECT, MANAGED_BY, MANAGER, SINK, Key, key_of
from meterfabric_operator.observed import Observed

INACTIVE = 75.0
"""Seconds without any event, or the bookmark of every minute, after which a watch is begun anew."""


class Watching:
    """Takes events into `observed`; calls ``look(key)`` for each fabric, sink or request to look at."""

    def __init__(self, observed: Observed, look: Callable[[Key], None]) -> None:
        self._observed = observed
        self._look = look
        self._secrets: dict[Key, tuple[str, str]] = {}
        self.events = 0
        self.complete = asyncio.Event()
        """Set once everything was listed."""

    def fabric(self, body: dict[str, Any], gone: bool) -> None:
        """Its sinks depend on it."""
        key = self._observed.set_object(self._observed.fabrics, body, gone=gone)
        self._look(key)
        for sink in self._observed.sinks_of(key.namespace, key.name):
            self._look(Key("MeteringSink", key.namespace, sink["metadata"]["name"]))

    def sink(self, body: dict[str, Any], gone: bool) -> None:
        """Its fabric tells sidecars of it."""
        key = self._observed.set_object(self._observed.sinks, body, gone=gone)
        self._look(key)
        self._look(Key("MeteringFabric", key.namespace, body["spec"]["fabric"]))

    def namespace(self, body: dict[str, Any], gone: bool) -> None:
        """Joined or left."""
        for fabric in self._observed.set_namespace(body, gone=gone):
            self._look_at_fabric(fabric)

    def pod(self, body: dict[str, Any], gone: bool) -> None:
        """Counted by its fabric."""
        if fabric := self._observed.set_pod(body, gone=gone):
            self._look_at_fabric(fabric)

    def child(self, body: dict[str, Any], gone: bool) -> None:
        """Changed, by its controller or by somebody."""
        before = self._observed.children.get(key_of(body))
        after = self._observed.set_child(body, gone=gone)
        if after is None:
            return
        # Whose it was matters too: somebody may have changed the label that says so.
        for fabric, sink in {(child.fabric, child.sink) for child in (before, after) if child is not None}:
            self._look_at_fabric(fabric)
            if sink:
                self._look(Key("MeteringSink", fabric.partition(".")[0], sink))

    def secret(self, body: dict[str, Any], gone: bool) -> None:
        """Changed or deleted, by us or by somebody. Nothing of it is kept but whose it is."""
        key, labels = key_of(body), body["metadata"].get("labels") or {}
        before = self._secrets.pop(key, None)
        after = str(labels.get(FABRIC, "")), str(labels.get(SINK, ""))
        if not gone:
            self._secrets[key] = after
        for fabric, sink in {whose for whose in (before, after) if whose is not None}:
            self._look_at_fabric(fabric)
            if sink:
                self._look(Key("MeteringSink", fabric.partition(".")[0], sink))

    def request(self, body: dict[str, Any], gone: bool) -> None:
        """Asks us for a certificate."""
        status = body.get("status") or {}
        answered = status.get("certificate") or any(
            each["type"] in ("Denied", "Failed") for each in status.get("conditions") or []
        )
        if not gone and not answered and body["spec"]["signerName"] == signer.SIGNER:
            self._look(Key("CertificateSigningRequest", "", body["metadata"]["name"]))

    def _look_at_fabric(self, fabric: str) -> None:
        namespace, _, name = fabric.partition(".")
        if name:
            self._look(Key("MeteringFabric", namespace, name))


def register(
    watching: Watching, kinds: dict[str, Kind], children: Sequence[str] = FABRIC_CHILDREN
) -> kopf.OperatorRegistry:
    """The registry that kopf runs. ``children``: the kinds that run for fabrics and are watched."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login)
    takers: dict[str, Callable[[dict[str, Any], bool], None]] = {
        "MeteringFabric": watching.fabric,
        "MeteringSink": watching.sink,
        "Namespace": watching.namespace,
        "Pod": watching.pod,
        "CertificateSigningRequest": watching.request,
        **dict.fromkeys(children, watching.child),
    }
    for kind, take in takers.items():
        served = kinds[kind]
        group, _, version = served.api_version.rpartition("/")
        # A handler's id is its name and distinguishes it from the others of its object.
        indexed = kopf.index(group, version, served.plural, registry=registry, id=f"list-{served.plural}")
        indexed(_listing(kind, take))
        on = kopf.on.event(group, version, served.plural, registry=registry, id=f"watch-{served.plural}")
        on(_taking(watching, kind, take))
    return registry


def settings(kinds: dict[str, Kind]) -> kopf.OperatorSettings:
    """Selectors that the server applies, and nothing that writes."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    made.peering.standalone = True
    made.watching.inactivity_timeout = INACTIVE
    made.watching.server_timeout = 600
    made.networking.request_timeout = 30.0
    selectors = {"Pod": f"{INJECT}=true"} | dict.fromkeys(FABRIC_CHILDREN, f"{MANAGED_BY}={MANAGER}")
    for kind, selector in selectors.items():
        group, _, version = kinds[kind].api_version.rpartition("/")
        made.watching.label_selectors[group, version, kinds[kind].plural] = selector
    return made


def _login(**arguments: Any) -> Any:
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def _listing(kind: str, take: Callable[[dict[str, Any], bool], None]) -> Callable[..., Any]:
    async def listed(body: Any, **_: Any) -> None:
        take(_whole(kind, body), False)

    return listed


def _taking(watching: Watching, kind: str, take: Callable[[dict[str, Any], bool], None]) -> Callable[..., Any]:
    async def taken(event: Any, **_: Any) -> None:
        watching.events += 1
        watching.complete.set()
        take(_whole(kind, event["object"]), event["type"] == "DELETED")

    return taken


def _whole(kind: str, body: Any) -> dict[str, Any]:
    """Objects of a list don't say what they are."""
    version = f"{GROUP}/v1alpha1" if kind in ("MeteringFabric", "MeteringSink") else ""
    return {"apiVersion": version, **body, "kind": kind}
