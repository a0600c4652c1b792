"""Which processes a fabric takes, and the settings of each: decided here, carried out elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.objects import Objects
from meterfabric_protocol import fabric_sidecar
from meterfabric_protocol.fabric import MeteringSink
from meterfabric_protocol.names import Producer
from meterfabric_protocol.notation import amount, seconds

Component = Literal["sidecar", "relay", "sink"]
DRAIN_ORDER: tuple[Component, ...] = ("sidecar", "relay", "sink")
"""What flows in stops first."""
_OWN_DRAIN = 20.0
_MARGIN = 20.0


@dataclass(frozen=True)
class ProcessPlan:
    """One process: its name among the fabric's, what runs, its settings and files.

    `grace`: seconds that it may take to stop.
    """

    name: str
    component: Component
    folder: Path
    settings: dict[str, Any]
    grace: float

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """Where it logs to."""
        return self.folder / f"{self.name}.log"

    @property
    def ready(self) -> Path:
        """Where it says which ports it got."""
        return self.folder / f"{self.name}.ready"


def relay_names(objects: Objects) -> list[str]:
    """The names of the fabric's relays."""
    return [f"relay-{number}" for number in range(objects.fabric.spec.relay.count)]


def plan(objects: Objects, layout: Layout, producer: Producer, relay_key: str, port: int) -> list[ProcessPlan]:
    """Every process of the fabric. `relay_key`: Z85; `port`: the sidecar's for HTTP, the next is ZeroMQ's."""
    plans = [_sidecar(objects, layout, producer, relay_key, port)]
    plans += [_relay(objects, layout, name) for name in relay_names(objects)]
    for sink in objects.sinks:
        plans += [_worker(objects, layout, sink, relay_key, number) for number in range(sink.spec.workers)]
    return plans


def sink_entries(objects: Objects) -> list[dict[str, Any]]:
    """The list of sinks that the sidecar reads."""
    return fabric_sidecar.sink_entries(objects.fabric.spec, objects.sinks)


def _sidecar(objects: Objects, layout: Layout, producer: Producer, relay_key: str, port: int) -> ProcessPlan:
    drain = seconds(objects.fabric.spec.delivery.drain)
    settings = {
        "fabric": producer.fabric,
        "trust_domain": producer.trust_domain,
        "namespace": producer.namespace,
        "pod": producer.pod,
        "pod_uid": producer.uid,
        "service_account": producer.service_account,
        "spool_dir": str(layout.sidecar),
        "key_dir": str(layout.sidecar / "key"),
        "trust": str(layout.trust),
        "authority": str(layout.authority),
        "relays": str(layout.relays),
        "sinks": str(layout.sinks),
        "relay_key": relay_key,
        "http_port": port,
        "zmq_port": port + 1,
        **fabric_sidecar.settings(objects.fabric.spec),
    }
    return _process("sidecar", "sidecar", layout.sidecar, settings, drain)


def _relay(objects: Objects, layout: Layout, name: str) -> ProcessPlan:
    relay = objects.fabric.spec.relay
    settings = {
        "fabric": objects.fabric.id,
        "name": name,
        "trust": str(layout.trust),
        "curve": str(layout.relay_key),
        "memory": amount(relay.memory),
        "sinks": len(objects.sinks),
        "connections": relay.max_connections,
        "drain": _OWN_DRAIN,
    }
    return _process(name, "relay", layout.relay(name), settings, _OWN_DRAIN)


def _worker(objects: Objects, layout: Layout, sink: MeteringSink, relay_key: str, number: int) -> ProcessPlan:
    name = sink.metadata.name
    settings = {
        "fabric": objects.fabric.id,
        "name": name,
        "worker": f"{name}-{number}",
        "trust": str(layout.trust),
        "key": str(layout.sink_key(name)),
        "chain": str(layout.sink_chain(name)),
        "relays": str(layout.relays),
        "relay_key": relay_key,
        "url": layout.sink_url(sink),
        "record_bytes": amount(objects.fabric.spec.limits.record_bytes),
        "drain": _OWN_DRAIN,
    }
    return _process(f"worker-{number}", "sink", layout.sink(name), settings, _OWN_DRAIN)


def _process(name: str, component: Component, folder: Path, settings: dict[str, Any], drain: float) -> ProcessPlan:
    settings["ready_file"] = str(folder / f"{name}.ready")
    return ProcessPlan(name, component, folder, settings, drain + _MARGIN)
