"""Facts of a small fabric, as tests want them."""

from typing import Any

from meterfabric_operator.settings import Settings
from meterfabric_operator.wanted import FabricFacts, SinkFacts
from meterfabric_protocol.fabric import API_VERSION, MeteringFabric, MeteringSink, read

SETTINGS = Settings(namespace="meterfabric-system", image="example.org/meterfabric:1")
PUBLIC = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


def fabric(name: str = "demo", **spec: Any) -> MeteringFabric:
    made = read(
        {
            "apiVersion": API_VERSION,
            "kind": "MeteringFabric",
            "metadata": {"name": name, "namespace": "metering"},
            "spec": spec,
        }
    )
    assert isinstance(made, MeteringFabric)
    return made


def sink(name: str = "billing", destination: dict[str, Any] | None = None, **spec: Any) -> MeteringSink:
    chosen = destination or {"postgres": {"secretRef": {"name": "database"}}}
    made = read(
        {
            "apiVersion": API_VERSION,
            "kind": "MeteringSink",
            "metadata": {"name": name, "namespace": "metering"},
            "spec": {"fabric": "demo", "destination": chosen, **spec},
        }
    )
    assert isinstance(made, MeteringSink)
    return made


def facts(*sinks: MeteringSink, namespaces: tuple[str, ...] = ("shop",), **spec: Any) -> FabricFacts:
    return FabricFacts(
        fabric(**spec),
        "fabric-uid",
        SETTINGS,
        trust="-----BEGIN CERTIFICATE-----\n",
        relay_public=PUBLIC,
        relay_secret="s" * 40,
        sinks=sinks,
        namespaces=namespaces,
    )


def sink_facts(made: MeteringSink, **spec: Any) -> SinkFacts:
    return SinkFacts(made, "sink-uid", facts(made, **spec), key="KEY", chain="CHAIN", url_version="7")


def environment(container: dict[str, Any]) -> dict[str, str]:
    """What a process of the container would find, with fields of the pod filled in."""
    fields = {
        "metadata.name": "pod-1",
        "metadata.namespace": "shop",
        "metadata.uid": "u-1",
        "spec.serviceAccountName": "web",
        "status.podIP": "10.0.0.7",
    }
    found = {}
    for each in container["env"]:
        source = each.get("valueFrom", {})
        if "fieldRef" in source:
            found[each["name"]] = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            found[each["name"]] = "postgresql://from-a-secret/"
        else:
            found[each["name"]] = each["value"].replace("$$(", "$(")
    return found
