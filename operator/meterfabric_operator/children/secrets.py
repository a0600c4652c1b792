"""The Secrets of a fabric: its authority, the relays' key, each sink's key. In its own namespace, so that relays and
sinks start while the operator is away."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from meterfabric_operator import names
from meterfabric_operator.objects import SINK, Object, labels, owned_by
from meterfabric_operator.wanted import FabricFacts, SinkFacts


def authority(facts: FabricFacts, roots: Mapping[str, bytes]) -> Object:
    """``roots``: file name and content, as `identity.Roots` writes them. No owner: it outlives the fabric."""
    name = names.authority(facts.name)
    return _secret(facts, name, labels(facts.id, "identity"), roots, [])


def relay(facts: FabricFacts) -> Object:
    """The key that all relays share. No owner: a fabric that is made anew is the one that its sidecars know."""
    content = {"relays.curve": facts.relay_secret.encode() + b"\n"}
    return _secret(facts, names.relay(facts.name), labels(facts.id, "identity"), content, [])


def sink(facts: SinkFacts) -> Object:
    """A sink's signing key and its chain. With the sink goes its key: another sink of that name is another signer."""
    made = labels(facts.of.id, "sink", **{SINK: facts.name})
    content = {"key.pem": facts.key.encode(), "chain.pem": facts.chain.encode()}
    owners = owned_by("MeteringSink", facts.name, facts.uid)
    return _secret(facts.of, names.sink(facts.name), made, content, owners)


def _secret(
    facts: FabricFacts, name: str, made: dict[str, str], content: Mapping[str, bytes], owners: list[Object]
) -> Object:
    metadata: Object = {"name": name, "namespace": facts.namespace, "labels": made}
    if owners:
        metadata["ownerReferences"] = owners
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "data": {file: b64encode(value).decode() for file, value in sorted(content.items())},
    }
