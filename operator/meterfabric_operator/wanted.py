"""What a reconciliation knows when it decides: the fabric or sink as it is written, and the facts beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from meterfabric_operator.settings import Settings
from meterfabric_protocol.fabric import MeteringFabric, MeteringSink


@dataclass(frozen=True)
class FabricFacts:
    """A fabric and what is known around it.

    `sinks`: those that name it, sorted by name. `namespaces`: those that joined and may, sorted. `trust`: the bundle,
    PEM. `relay_public`: the relays' key, Z85.
    """

    fabric: MeteringFabric
    uid: str
    settings: Settings
    trust: str = ""
    relay_public: str = ""
    relay_secret: str = field(default="", repr=False)
    sinks: tuple[MeteringSink, ...] = ()
    namespaces: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The fabric's own name."""
        return self.fabric.metadata.name

    @property
    def namespace(self) -> str:
        """The fabric's own namespace."""
        return self.fabric.metadata.namespace

    @property
    def id(self) -> str:
        """NAMESPACE.NAME."""
        return self.fabric.id


@dataclass(frozen=True)
class SinkFacts:
    """A sink, the fabric it belongs to, its key and chain, PEM. `url_version` changes with its URL's Secret."""

    sink: MeteringSink
    uid: str
    of: FabricFacts
    key: str = field(default="", repr=False)
    chain: str = ""
    url_version: str = ""

    @property
    def name(self) -> str:
        """The sink's own name."""
        return self.sink.metadata.name
