"""Keeps the Secrets of fabrics and sinks: read live, made where there are none, replaced when they change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from meterfabric_operator import names
from meterfabric_operator.children import secrets
from meterfabric_operator.cluster import ApiError, Cluster
from meterfabric_operator.identity import (
    Roots,
    SinkIdentity,
    data_of,
    keep_relay_key,
    keep_roots,
    keep_sink,
)
from meterfabric_operator.objects import Key, Object
from meterfabric_operator.wanted import FabricFacts, SinkFacts
from meterfabric_protocol.identity import Sink

ROTATE = "meterfabric.io/rotate"
"""Annotation of a fabric: a number; as many roots are made as it says at least."""


class SecretKeeper:
    """Methods raise IdentityError where keys can't be used, and as Cluster does."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._now = now

    async def roots(self, facts: FabricFacts, wanted_roots: int = 1) -> Roots:
        """The fabric's roots."""
        key = Key("Secret", facts.namespace, names.authority(facts.name))
        held = await self._cluster.get(key)
        files = data_of(held)
        rotate = sum(name.startswith("root-") for name in files) < wanted_roots
        roots = keep_roots(files, facts.fabric.spec.trust_domain, self._now(), rotate)
        if roots.files != files:
            await self._write(held, secrets.authority(facts, roots.files))
        return roots

    async def relay_key(self, facts: FabricFacts) -> tuple[str, str]:
        """The relays' secret and public key, Z85."""
        held = await self._cluster.get(Key("Secret", facts.namespace, names.relay(facts.name)))
        secret, public = keep_relay_key(data_of(held))
        if held is None or not data_of(held):
            made = FabricFacts(facts.fabric, facts.uid, facts.settings, relay_secret=secret)
            await self._write(held, secrets.relay(made))
        return secret, public

    async def sink(self, facts: SinkFacts, roots: Roots) -> SinkIdentity:
        """A sink's key and chain."""
        held = await self._cluster.get(Key("Secret", facts.of.namespace, names.sink(facts.name)))
        files = data_of(held)
        subject = Sink(facts.of.fabric.spec.trust_domain, facts.of.id, facts.name)
        kept = keep_sink(files, subject, roots, self._now())
        if {"key.pem": kept.key.encode(), "chain.pem": kept.chain.encode()} != files:
            made = SinkFacts(facts.sink, facts.uid, facts.of, kept.key, kept.chain)
            await self._write(held, secrets.sink(made))
        return kept

    async def url_version(self, facts: SinkFacts) -> str:
        """The version of the Secret with a sink's URL; empty where it has none."""
        postgres = facts.sink.spec.destination.postgres
        if postgres is None or postgres.secret_ref is None:
            return ""
        held = await self._cluster.get(Key("Secret", facts.of.namespace, postgres.secret_ref.name))
        return str(held["metadata"]["resourceVersion"]) if held is not None else "missing"

    async def _write(self, held: Object | None, body: Object) -> None:
        """Made where there was none, so that of two operators that both find none one fails and reads again."""
        if held is None:
            await self._cluster.create(body)
            return
        if held["metadata"].get("deletionTimestamp"):
            raise ApiError(409, "Conflict", f"Secret {body['metadata']['name']} is being deleted")
        metadata = {**body["metadata"], "resourceVersion": held["metadata"]["resourceVersion"]}
        await self._cluster.replace(
            Key("Secret", metadata["namespace"], metadata["name"]), {**body, "metadata": metadata}
        )
