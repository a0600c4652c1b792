"""What kopf watches, and what each event makes us look at: a thin shell that keeps the newest state and fills a queue.

Only `on.event` is used: kopf then writes nothing into objects, neither finalizers nor annotations of its own. Its
indices would tell when everything was listed, but they hold every object until then and wake all of them for each that
comes: with some thousands that doesn't end. `census` tells it instead, and what a watch missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import kopf

from meterfabric_operator.api.kinds import FABRIC_CHILDREN, Kind
from meterfabric_operator.keys import signer
from meterfabric_operator.objects import FABRIC, GROUP, INJECT, MANAGED_BY, MANAGER, SINK, Key, Object, key_of
from meterfabric_operator.watching.observed import Observed

SELECTORS: Final = {
    "Pod": f"{INJECT}=true",
    "MutatingWebhookConfiguration": "app.kubernetes.io/part-of=meterfabric",
    **dict.fromkeys(FABRIC_CHILDREN, f"{MANAGED_BY}={MANAGER}"),
}
"""Labels by kind; of the others everything is watched."""
PAGE: Final = 50
"""Objects of one answer to a list; as many of each kind may be held at a time."""
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
        self.anew = asyncio.Event()
        """Set when a watch was begun anew: what went meanwhile nobody told."""
        self.takers: dict[str, Callable[[dict[str, Any], bool], None]] = {
            "MeteringFabric": self.fabric,
            "MeteringSink": self.sink,
            "Namespace": self.namespace,
            "Pod": self.pod,
            "CertificateSigningRequest": self.request,
            "MutatingWebhookConfiguration": self.configuration,
            **dict.fromkeys(FABRIC_CHILDREN, self.child),
        }
        """By kind; `gone` may come with no more of the object than its name."""

    def take(self, kind: str, body: dict[str, Any], *, gone: bool = False) -> None:
        """Take an object as a watch or a list tells of it, unless something newer is known."""
        if self._observed.versions.advance(key_of({**body, "kind": kind}), body, gone=gone):
            self.takers[kind](_whole(kind, body), gone)

    def counted(self, kind: str, namespace: str, there: Collection[Key], version: int) -> None:
        """Take leave of what was known and isn't `there`. ``version``: of the list; ``namespace``: "" for all."""
        for key in self._observed.versions.missing(kind, namespace, there, version):
            self.takers[kind](_whole(kind, {"metadata": {"namespace": key.namespace, "name": key.name}}), True)

    def fabric(self, body: dict[str, Any], gone: bool) -> None:
        """Its sinks depend on it, but not on its status."""
        before = self._observed.fabrics.get(key_of(body))
        key = self._observed.set_object(self._observed.fabrics, body, gone=gone)
        if before is None or gone or _differs(before, self._observed.fabrics[key]):
            self._look(key)
        if before is None or gone or _is_changed(before, body):
            for sink in self._observed.sinks_of(key.namespace, key.name):
                self._look(Key("MeteringSink", key.namespace, sink["metadata"]["name"]))

    def sink(self, body: dict[str, Any], gone: bool) -> None:
        """Its fabric tells sidecars of it."""
        before = self._observed.sinks.get(key_of(body))
        key = self._observed.set_object(self._observed.sinks, body, gone=gone)
        if before is None or gone or _differs(before, self._observed.sinks[key]):
            self._look(key)
        if before is None or gone or _is_changed(before, body):
            for each in (before, body):
                if each is not None and "spec" in each:
                    self._look(Key("MeteringFabric", key.namespace, each["spec"]["fabric"]))

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

    def configuration(self, body: dict[str, Any], gone: bool) -> None:
        """Says what the API server trusts, and somebody may have changed that."""
        if not gone:
            self._look(Key("MutatingWebhookConfiguration", "", body["metadata"]["name"]))

    def _look_at_fabric(self, fabric: str) -> None:
        namespace, _, name = fabric.partition(".")
        if name:
            self._look(Key("MeteringFabric", namespace, name))


def register(watching: Watching, kinds: dict[str, Kind], watched: Sequence[str]) -> kopf.OperatorRegistry:
    """The registry that kopf runs. ``watched``: names of kinds."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login)
    for kind in watched:
        served = kinds[kind]
        group, _, version = served.api_version.rpartition("/")
        # A handler's id is its name and distinguishes it from the others of its object.
        on = kopf.on.event(group, version, served.plural, registry=registry, id=f"watch-{served.plural}")
        on(_taking(watching, kind))
    return registry


def settings(kinds: dict[str, Kind]) -> kopf.OperatorSettings:
    """Selectors that the server applies, and nothing that writes."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    made.peering.standalone = True
    made.persistence.diffbase_storage = _Unkept()
    made.watching.inactivity_timeout = INACTIVE
    made.watching.server_timeout = 600
    made.watching.chunk_size = PAGE
    # Each object that something was told of is held for so long.
    made.queueing.idle_timeout = 0.2
    made.networking.request_timeout = 30.0
    for kind, selector in SELECTORS.items():
        group, _, version = kinds[kind].api_version.rpartition("/")
        made.watching.label_selectors[group, version, kinds[kind].plural] = selector
    return made


def _login(**arguments: Any) -> Any:
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def _taking(watching: Watching, kind: str) -> Callable[..., Any]:
    async def taken(event: Any, **_: Any) -> None:
        watching.events += 1
        if event["type"] is None:
            watching.anew.set()
        watching.take(kind, event["object"], gone=event["type"] == "DELETED")

    return taken


class _Unkept(kopf.DiffBaseStorage):
    """Without this every object is copied at every event, to be compared with what nobody stores."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """Nothing of it."""
        return {}

    def fetch(self, *, body: Any) -> None:
        """Nothing was stored."""

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Nothing is."""


def _differs(before: Object, after: Object) -> bool:
    """Whether there is anything new, which what we wrote of a status ourselves isn't."""
    return _without_version(before) != _without_version(after)


def _without_version(body: Object) -> Object:
    metadata = {name: each for name, each in body["metadata"].items() if name != "resourceVersion"}
    return {**body, "metadata": metadata}


def _is_changed(before: Object, after: Object) -> bool:
    """Whether its spec was changed, it is another one, or it is to go."""
    return any(
        before["metadata"].get(name) != after["metadata"].get(name)
        for name in ("uid", "generation", "deletionTimestamp", "annotations", "labels")
    )


def _whole(kind: str, body: Any) -> dict[str, Any]:
    """Objects of a list don't say what they are."""
    version = f"{GROUP}/v1alpha1" if kind in ("MeteringFabric", "MeteringSink") else ""
    return {"apiVersion": version, **body, "kind": kind}
