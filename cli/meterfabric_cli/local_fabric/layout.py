"""Where everything of a local fabric lies in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meterfabric_protocol.fabric import MeteringSink


@dataclass(frozen=True)
class Layout:
    """The folder of a local fabric; `folder` is absolute.

    trust.pem, relays.json, sinks.json, state.json; authority/, sidecar/, relay-N/, sinks/NAME/, each with the settings
    and the log of what runs there.
    """

    folder: Path

    @property
    def trust(self) -> Path:
        """The trust bundle, for auditors too."""
        return self.folder / "trust.pem"

    @property
    def authority(self) -> Path:
        """The certificate authority."""
        return self.folder / "authority"

    @property
    def relay_key(self) -> Path:
        """The CURVE secret key that all relays share."""
        return self.authority / "relays.curve"

    @property
    def relays(self) -> Path:
        """Which relays there are."""
        return self.folder / "relays.json"

    @property
    def sinks(self) -> Path:
        """Which sinks there are."""
        return self.folder / "sinks.json"

    @property
    def state(self) -> Path:
        """Processes and ports, for `meterfabric status`."""
        return self.folder / "state.json"

    @property
    def lock(self) -> Path:
        """Held by the one command that runs the folder."""
        return self.folder / "lock"

    @property
    def sidecar(self) -> Path:
        """The sidecar's spool, key and log."""
        return self.folder / "sidecar"

    def relay(self, name: str) -> Path:
        """A relay's folder."""
        return self.folder / name

    def sink(self, name: str) -> Path:
        """A sink's folder."""
        return self.folder / "sinks" / name

    def sink_key(self, name: str) -> Path:
        """A sink's signing key."""
        return self.sink(name) / "key.pem"

    def sink_chain(self, name: str) -> Path:
        """A sink's certificate chain."""
        return self.sink(name) / "chain.pem"

    def sink_url(self, sink: MeteringSink) -> str:
        """A sink's SINKURL."""
        chosen = sink.spec.destination
        if chosen.postgres is not None and chosen.postgres.url is not None:
            return chosen.postgres.url
        folder = self.sink(sink.metadata.name)
        return f"file:{folder}" if chosen.file is not None else f"sqlite:{folder / 'records.db'}"
