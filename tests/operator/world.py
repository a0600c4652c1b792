"""A cluster in memory with a fabric, a sink and a namespace that joined, and the operator's parts around it."""

import contextlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.api.events import Events
from meterfabric_operator.api.kinds import FABRIC_CHILDREN, kinds
from meterfabric_operator.keys.identity import AuthorityMissing
from meterfabric_operator.keys.secret_keeper import SecretKeeper
from meterfabric_operator.objects import FABRIC, Key, Object
from meterfabric_operator.reconciling.applying import Applier
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.reconciling.reconcile_fabric import reconcile_fabric
from meterfabric_operator.reconciling.reconcile_sink import reconcile_sink
from meterfabric_operator.settings import Settings
from meterfabric_operator.sidecars.injection import Injection
from meterfabric_operator.sidecars.missing import Missing
from meterfabric_operator.sidecars.replacing import Replacer
from meterfabric_operator.watching.handlers import Watching
from meterfabric_operator.watching.observed import Observed
from meterfabric_protocol.fabric import API_VERSION
from meterfabric_protocol.names import Producer
from meterfabric_runtime.csr import make_csr
from tests.operator.facts import SETTINGS
from tests.operator.memory_api import MemoryApi

DEMO = Key("MeteringFabric", "metering", "demo")
BILLING = Key("MeteringSink", "metering", "billing")
AUTHORITY = Key("Secret", "metering", "demo-authority")
HISTORY = Key("Secret", "metering", "demo-history")
RELAY_KEY = Key("Secret", "metering", "demo-relay")
BUNDLE = Key("ConfigMap", "metering", "demo-trust")
RELAYS = Key("Deployment", "metering", "demo-relay")


def context(
    settings: Settings,
    cluster: Cluster,
    observed: Observed,
    now: Callable[[], datetime],
    again: Callable[[Key, float], None],
) -> Context:
    """What a look at an object is given, all around one cluster and one clock."""

    def clock() -> float:
        return now().timestamp()

    events, injection = Events(cluster, "replica"), Injection(cluster, settings, clock)
    return Context(
        settings,
        cluster,
        observed,
        Applier(cluster, observed),
        SecretKeeper(cluster, now),
        injection,
        Missing(events),
        Replacer(cluster, injection, events, clock),
        events,
        now,
        again,
    )


class World:
    """A cluster in memory and the operator's parts around it. Watching tells everything at once."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.looked: list[Key] = []
        self.later: dict[Key, float] = {}
        self.observed = Observed()
        self.watching = Watching(self.observed, self.looked.append)
        cluster = cast(Cluster, self.api)
        self.api.kinds = kinds(SETTINGS.admission_api)  # type: ignore[attr-defined]
        self.context = context(SETTINGS, cluster, self.observed, lambda: self.now, self._again)

    def _again(self, key: Key, seconds: float) -> None:
        self.later[key] = seconds

    def put(self, kind: str, name: str, namespace: str = "metering", **body: Any) -> None:
        """A person writes an object."""
        key = Key(kind, namespace, name)
        metadata = {"name": name, **body.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        metadata.setdefault("generation", 1)
        version = {"apiVersion": API_VERSION} if kind.startswith("Metering") else {"apiVersion": "v1"}
        self.api._put("put", key, {**version, "kind": kind, "metadata": metadata, **body})

    def tell(self) -> None:
        """Watching tells how everything is."""
        told = {"MeteringFabric", "MeteringSink", "Namespace", *FABRIC_CHILDREN}
        for key in [key for key in self.observed.children if key not in self.api.held]:
            self.observed.children.pop(key)
        for key in [key for key in self.observed.fabrics if key not in self.api.held]:
            self.observed.fabrics.pop(key)
        for key, body in list(self.api.held.items()):
            if key.kind in told:
                self.watching.takers[key.kind](body, False)

    async def reconcile(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            self.tell()
            await reconcile_fabric(self.context, DEMO)
            self.tell()
            # A sink waits for its fabric's keys.
            with contextlib.suppress(AuthorityMissing):
                await reconcile_sink(self.context, BILLING)
        self.tell()

    def condition(self, key: Key, kind: str) -> Object:
        conditions = self.api.held[key].get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def events(self) -> list[str]:
        return [body["reason"] for key, body in self.api.held.items() if key.kind == "Event"]


def world(**spec: Any) -> World:
    """The fabric `demo` with this spec, its sink `billing`, and the namespace `shop` that joined; nothing made yet."""
    made = World()
    made.put("MeteringFabric", "demo", spec=spec)
    made.put("MeteringSink", "billing", spec={"fabric": "demo", "destination": {"postgres": {"url": "postgres://d/u"}}})
    made.put("Namespace", "shop", "", metadata={"labels": {FABRIC: "metering.demo"}})
    return made


def unmetered(made: World, name: str, uid: str, owner: str = "rs-1", **metadata: Any) -> None:
    """A pod without its sidecar, as watching tells it."""
    metadata |= {
        "uid": uid,
        "labels": {"meterfabric.io/inject": "true"},
        "creationTimestamp": "2026-11-24T11:00:00Z",
        "ownerReferences": [{"uid": owner, "kind": "ReplicaSet", "controller": True}] if owner else [],
    }
    made.put("Pod", name, "shop", metadata=metadata, spec={})
    made.watching.pod(made.api.held[Key("Pod", "shop", name)], False)


def pod(made: World, **metadata: Any) -> None:
    """A pod that meters and may ask for a certificate."""
    labels = {"meterfabric.io/inject": "true"}
    made.put(
        "Pod",
        "web-0",
        "shop",
        metadata={"uid": "u-1", "labels": labels, **metadata},
        spec={"serviceAccountName": "web"},
        status={"phase": "Running"},
    )


def request(made: World, **status: Any) -> Key:
    """That pod's request, with the API server's stamps on it."""
    subject = Producer("meterfabric.local", "metering.demo", "shop", "web", "web-0", "u-1")
    csr = make_csr(Ed25519PrivateKey.generate(), subject.spiffe)
    spec = {
        "username": "system:serviceaccount:shop:web",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["web-0"],
            "authentication.kubernetes.io/pod-uid": ["u-1"],
        },
        "signerName": "meterfabric.io/producer",
        "usages": ["client auth"],
        "request": b64encode(csr).decode(),
    }
    made.put("CertificateSigningRequest", "r", "", spec=spec, status=status)
    return Key("CertificateSigningRequest", "", "r")


def file(made: World, key: Key, name: str) -> bytes:
    """A file of a Secret as it stands."""
    return b64decode(made.api.held[key]["data"][name])
