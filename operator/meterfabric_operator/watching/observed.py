"""What watching told: fabrics, sinks, who joined, pods that meter, and how our children stand. Small on purpose.

Of a thousand fabrics' children only what decides is kept: whether they are as they were applied, how many are ready.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meterfabric_operator import names
from meterfabric_operator.objects import DIGEST, FABRIC, INJECT, SINK, Key, Object, digest, key_of
from meterfabric_operator.watching.drift import pack
from meterfabric_operator.watching.versions import Versions

if TYPE_CHECKING:
    from meterfabric_operator.scaling.outcome import Outcome
    from meterfabric_operator.status.books import Books


@dataclass(frozen=True, slots=True)
class Child:
    """One of ours. `state`: equal as long as nobody changed it. `applied`: the digest of what it was applied from."""

    state: str
    applied: str
    fabric: str
    sink: str
    replicas: int
    ready: int
    settled: bool
    """Whether its controller has seen the newest version, and all replicas are of it."""
    made: int = 0
    """Replicas that there are, of whatever version."""


@dataclass(frozen=True, slots=True)
class MeteringPod:
    """A pod that asks for a sidecar and hasn't ended. `why`: why it has none, empty where it has one.

    `owner`: the UID of its controller; `created`: as its metadata says; `replaceable`: whether its controller would
    make another one in its place, with a sidecar, and nothing but that: a Job's work would begin anew.
    """

    namespace: str
    name: str
    why: str
    uid: str = ""
    owner: str = ""
    created: str = ""
    replaceable: bool = False


def child_of(body: Mapping[str, Any]) -> Child:
    """What is kept of one of our objects."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    # Statuses change the resource version all the time; where there is a generation, it changes with the spec only.
    version = metadata.get("generation") or metadata.get("resourceVersion")
    owners = [owner.get("uid") for owner in metadata.get("ownerReferences") or []]
    replicas = (body.get("spec") or {}).get("replicas", 0)
    updated = status.get("updatedReplicas", 0)
    return Child(
        state=digest({"version": version, "labels": labels, "owners": owners, "applied": annotations.get(DIGEST)}),
        applied=annotations.get(DIGEST, ""),
        fabric=labels.get(FABRIC, ""),
        sink=labels.get(SINK, ""),
        replicas=replicas,
        ready=status.get("readyReplicas", 0),
        settled=status.get("observedGeneration") == metadata.get("generation") and updated == replicas,
        made=status.get("replicas", 0),
    )


def metering_pod(body: Mapping[str, Any]) -> MeteringPod | None:
    """What is kept of a pod; None where it doesn't meter (any more)."""
    metadata, spec = body["metadata"], body["spec"]
    phase = (body.get("status") or {}).get("phase")
    if (metadata.get("labels") or {}).get(INJECT) != "true" or phase in ("Succeeded", "Failed"):
        return None
    injected = any(each["name"] == names.SIDECAR for each in spec.get("initContainers") or [])
    hosted = bool(spec.get("hostNetwork"))
    why = "" if injected else "it was made while the policy didn't act"
    if not injected and hosted:
        why = "it uses the node's network, where ports may be taken and others listen"
    owner = next((each for each in metadata.get("ownerReferences") or [] if each.get("controller")), None)
    ending = metadata.get("deletionTimestamp") is not None
    return MeteringPod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        why=why,
        uid=metadata.get("uid", ""),
        owner=owner["uid"] if owner else "",
        created=metadata.get("creationTimestamp", ""),
        replaceable=owner is not None and owner["kind"] not in ("Job", "Node") and not hosted and not ending,
    )


class Observed:
    """The newest state of everything that is watched."""

    def __init__(self) -> None:
        self.versions = Versions()
        self.fabrics: dict[Key, Object] = {}
        self.sinks: dict[Key, Object] = {}
        self.children: dict[Key, Child] = {}
        self.unproven: dict[Key, bytes] = {}
        """Children as they were found, until somebody compares them with what is wanted."""
        self._children: dict[str, dict[Key, Child]] = defaultdict(dict)
        self._sinks: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self.books: dict[Key, Books] = {}
        """Of sinks, by their keys."""
        self.scaling: dict[Key, Outcome] = {}
        """Of fabrics that are scaled, by their keys."""
        self._joined: dict[str, str] = {}
        self._namespaces: dict[str, set[str]] = defaultdict(set)
        self._pods: dict[str, dict[str, MeteringPod]] = defaultdict(dict)

    def set_object(self, kept: dict[Key, Object], body: Object, *, gone: bool) -> Key:
        """Take a fabric or sink; its key."""
        key = key_of(body)
        before = kept.pop(key, None)
        if gone:
            self.books.pop(key, None)
        else:
            metadata = {name: each for name, each in body["metadata"].items() if name != "managedFields"}
            kept[key] = {**body, "metadata": metadata}
        if key.kind == "MeteringSink":
            if before is not None:
                _discard(self._sinks, (key.namespace, before["spec"]["fabric"]), key)
            if not gone:
                self._sinks[key.namespace, body["spec"]["fabric"]].add(key)
        return key

    def set_namespace(self, body: Mapping[str, Any], *, gone: bool) -> set[str]:
        """Take a namespace; the fabrics, NAMESPACE.NAME, that it joined or left."""
        metadata = body["metadata"]
        name = metadata["name"]
        before = self._joined.pop(name, "")
        ending = gone or metadata.get("deletionTimestamp") is not None
        after = "" if ending else str((metadata.get("labels") or {}).get(FABRIC, ""))
        if before:
            self._namespaces[before].discard(name)
        if after:
            self._joined[name] = after
            self._namespaces[after].add(name)
        return {fabric for fabric in (before, after) if fabric} if before != after else set()

    def set_pod(self, body: Mapping[str, Any], *, gone: bool) -> str:
        """Take a pod; the fabric that its namespace joined, empty where none or where nothing changed."""
        metadata = body["metadata"]
        held = self._pods[metadata["namespace"]]
        uid = metadata.get("uid") or next((uid for uid, pod in held.items() if pod.name == metadata["name"]), "")
        before = held.pop(uid, None)
        after = None if gone else metering_pod(body)
        if after is not None:
            held[uid] = after
        return self._joined.get(metadata["namespace"], "") if before != after else ""

    def set_child(self, body: Mapping[str, Any], *, gone: bool) -> Child | None:
        """Take one of our objects; what is kept of it, None where nothing changed."""
        key, child = key_of(body), child_of(body)
        before = self.children.pop(key, None)
        if before is not None:
            _discard(self._children, before.fabric, key)
        if gone:
            self.unproven.pop(key, None)
        elif before is None or key in self.unproven:
            self.unproven[key] = pack(dict(body))
        if not gone:
            self.children[key] = self._children[child.fabric][key] = child
        return child if gone or before != child else None

    def namespaces(self, fabric: str) -> tuple[str, ...]:
        """The namespaces that joined a fabric, sorted; never its own."""
        own = fabric.partition(".")[0]
        return tuple(sorted(name for name in self._namespaces.get(fabric, ()) if name != own))

    def pods(self, namespaces: Iterable[str]) -> list[MeteringPod]:
        """The pods that meter in these namespaces."""
        return [pod for namespace in namespaces for pod in self._pods.get(namespace, {}).values()]

    def meters(self, namespace: str, pod: str, uid: str) -> bool:
        """Whether a pod meters and hasn't ended; of that name where the `uid` is empty."""
        held = self._pods.get(namespace, {})
        return uid in held if uid else any(each.name == pod for each in held.values())

    def workload(self, key: Key) -> Child | None:
        """What runs a sink's workers. ``key``: the sink's."""
        kinds = (Key(kind, key.namespace, names.sink(key.name)) for kind in ("Deployment", "StatefulSet"))
        return next((self.children[each] for each in kinds if each in self.children), None)

    def workers(self, key: Key) -> int | None:
        """How many workers of a sink are ready, None where it has no workload yet. ``key``: the sink's."""
        found = self.workload(key)
        return None if found is None else found.ready

    def sinks_of(self, namespace: str, fabric: str) -> list[Object]:
        """The sinks of a fabric, sorted by name, those that are being deleted too."""
        return [self.sinks[key] for key in sorted(self._sinks.get((namespace, fabric), ()))]

    def children_of(self, fabric: str) -> dict[Key, Child]:
        """What runs for a fabric and its sinks."""
        return dict(self._children.get(fabric, {}))


def _discard(index: dict[Any, Any], group: Any, key: Key) -> None:
    """Take a key from its group, and forget a group that is empty."""
    held = index.get(group)
    if held is None:
        return
    if isinstance(held, set):
        held.discard(key)
    else:
        held.pop(key, None)
    if not held:
        del index[group]
