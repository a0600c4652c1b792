"""The Secrets of a fabric: its authority, the history of its roots, the relays' key, each sink's key. In its own
namespace, so that relays and sinks start while the operator is away."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from meterfabric_operator import names
from meterfabric_operator.children import metadata
from meterfabric_operator.keys.identity import HISTORY, RELAYS, SPARE
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts, SinkFacts
from meterfabric_runtime.roots import Root


def authority(facts: FabricFacts, roots: Mapping[str, bytes]) -> Object:
    """``roots``: file name and content, as `identity.Roots` writes them. No owner: it outlives the fabric.

    The relays' key is here a second time: no sidecar that runs would find its relays under another.
    """
    content = {**roots, RELAYS: _curve(facts)}
    return _secret(metadata.kept(facts, names.authority(facts.name)), content)


def history(facts: FabricFacts, spare: Root | None) -> Object:
    """All roots that there ever were, without keys, and the next one with its key. Who may write here says whom to
    trust."""
    content = {HISTORY: facts.trust.encode(), **({SPARE: spare.written()} if spare is not None else {})}
    return _secret(metadata.kept(facts, names.history(facts.name)), content)


def relay(facts: FabricFacts) -> Object:
    """The key that all relays share. No owner: a fabric that is made anew is the one that its sidecars know."""
    return _secret(metadata.kept(facts, names.relay(facts.name)), {RELAYS: _curve(facts)})


def sink(facts: SinkFacts) -> Object:
    """A sink's signing key and its chain. With the sink goes its key: another sink of that name is another signer."""
    return _secret(metadata.of_sink(facts), {"key.pem": facts.key.encode(), "chain.pem": facts.chain.encode()})


def _curve(facts: FabricFacts) -> bytes:
    return facts.relay_secret.encode() + b"\n"


def _secret(about: Object, content: Mapping[str, bytes]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about,
        "type": "Opaque",
        "data": {file: b64encode(value).decode() for file, value in sorted(content.items())},
    }
