"""Keeps the Secrets of fabrics and sinks: read live, made where there are none, put right where they changed.

Only the look at a fabric that is alive makes what a fabric signs with. Who signs, and who serves sinks, reads.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.x509 import Certificate

from meterfabric_operator import names
from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.keys import secrets
from meterfabric_operator.keys.identity import (
    RELAYS,
    REPLACED,
    AuthorityMissing,
    Roots,
    SinkIdentity,
    TrustLost,
    data_of,
    keep_relay_key,
    keep_roots,
    keep_sink,
    read_history,
    read_roots,
    read_spare,
)
from meterfabric_operator.objects import Key, Object, to_time
from meterfabric_operator.wanted import FabricFacts, SinkFacts
from meterfabric_protocol.identity import Sink

ROTATE = "meterfabric.io/rotate"
"""Annotation of a fabric: a number; as many roots are made as it says at least."""


@dataclass(frozen=True)
class FabricKeys:
    """What a fabric signs with, and the relays' key, Z85. `replaced`: when a lost authority was; else empty."""

    roots: Roots
    relay_secret: str = field(repr=False)
    relay_public: str
    replaced: str = ""


class SecretKeeper:
    """Methods raise IdentityError where keys can't be used, and as Cluster does."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._now = now

    async def read(self, facts: FabricFacts) -> FabricKeys:
        """A fabric's keys as they are. Raises AuthorityMissing where there are none, or a root isn't in the history:
        what nobody remembers signs nothing."""
        authority, history, relays = await self._held(facts)
        files = data_of(authority)
        named, past = read_roots(files), read_history(data_of(history))
        if not named or not {root.certificate for _, root in named} <= set(past):
            raise AuthorityMissing(f"the authority of fabric {facts.id} isn't there yet: see its IdentityReady")
        curve = {RELAYS: files.get(RELAYS, b"")} | data_of(relays)
        return FabricKeys(Roots(named), *keep_relay_key(curve))

    async def keep(self, facts: FabricFacts, wanted: int, published: bool) -> FabricKeys:
        """The same, made and put right, for a fabric that is alive. ``published``: whether a bundle of it stands there.

        Written in the order in which one follows from the other: wherever this ends, the next look goes on.
        """
        authority, history, relays = await self._held(facts)
        files, remembered = data_of(authority), data_of(history)
        past, spare = read_history(remembered), read_spare(remembered)
        if not read_roots(files):
            await self._may_make(facts, past, published)
        domain = facts.fabric.spec.trust_domain
        roots = keep_roots(files, domain, self._now(), past=past, spare=spare, wanted=wanted)
        secret, public = keep_relay_key(data_of(relays), files.get(RELAYS))
        facts = dataclasses.replace(facts, trust=roots.bundle, relay_secret=secret)
        replaced = str(((authority or {}).get("metadata", {}).get("annotations") or {}).get(REPLACED, ""))
        body = secrets.authority(facts, roots.files)
        if roots.replaces:
            replaced = to_time(self._now())
            body["metadata"]["annotations"] = {REPLACED: replaced}
        await self._put(authority, body)
        await self._put(history, secrets.history(facts, roots.spare))
        await self._put(relays, secrets.relay(facts))
        return FabricKeys(roots, secret, public, replaced)

    async def sink(self, facts: SinkFacts, roots: Roots) -> SinkIdentity:
        """A sink's key and chain."""
        held = await self._cluster.get(Key("Secret", facts.of.namespace, names.sink(facts.name)))
        subject = Sink(facts.of.fabric.spec.trust_domain, facts.of.id, facts.name)
        kept = keep_sink(data_of(held), subject, roots, self._now())
        await self._put(held, secrets.sink(dataclasses.replace(facts, key=kept.key, chain=kept.chain)))
        return kept

    async def url_version(self, facts: SinkFacts) -> str:
        """The version of the Secret with a sink's URL; empty where it has none."""
        postgres = facts.sink.spec.destination.postgres
        if postgres is None or postgres.secret_ref is None:
            return ""
        held = await self._cluster.get(Key("Secret", facts.of.namespace, postgres.secret_ref.name))
        return str(held["metadata"]["resourceVersion"]) if held is not None else "missing"

    async def _held(self, facts: FabricFacts) -> list[Object | None]:
        called = (names.authority, names.history, names.relay)
        keys = [Key("Secret", facts.namespace, name(facts.name)) for name in called]
        return await asyncio.gather(*map(self._cluster.get, keys))

    async def _may_make(self, facts: FabricFacts, past: Sequence[Certificate], published: bool) -> None:
        """Raises TrustLost, and ApiError where the fabric isn't alive any more: watching may be behind."""
        if published and not past:
            given = f"kubectl get configmap {names.trust(facts.name)} -n {facts.namespace}"
            raise TrustLost(
                f"Secrets {names.authority(facts.name)} and {names.history(facts.name)} are gone, and ConfigMap"
                f" {names.trust(facts.name)} shows that there were roots: restore one of them from a backup. Or, if you"
                f" know the ConfigMap to be right, make the history from it: kubectl create secret generic"
                f" {names.history(facts.name)} -n {facts.namespace}"
                f" \"--from-literal=roots.pem=$({given} -o jsonpath='{{.data.trust\\.pem}}')\""
            )
        alive = await self._cluster.get(Key("MeteringFabric", facts.namespace, facts.name))
        metadata = (alive or {}).get("metadata", {})
        if metadata.get("uid") != facts.uid or metadata.get("deletionTimestamp"):
            raise ApiError(409, "Conflict", f"fabric {facts.id} is being deleted, or is another one by now")

    async def _put(self, held: Object | None, body: Object) -> None:
        """Made where there was none, so that of two operators that both find none one fails and reads again."""
        if held is None:
            await self._cluster.create(body)
            return
        if (body := _put_right(held, body)) == held:
            return
        if held["metadata"].get("deletionTimestamp"):
            raise ApiError(409, "Conflict", f"Secret {body['metadata']['name']} is being deleted")
        await self._cluster.replace(Key("Secret", body["metadata"]["namespace"], body["metadata"]["name"]), body)


def _put_right(held: Object, body: Object) -> Object:
    """What is there, with our content and labels; others' labels and annotations stay."""
    before, ours = held["metadata"], body["metadata"]
    metadata = before | {each: ours[each] for each in ("ownerReferences",) if each in ours}
    for each in ("labels", "annotations"):
        if each in ours:
            metadata[each] = (before.get(each) or {}) | ours[each]
    return {**held, "data": body["data"], "metadata": metadata}
