"""Which objects a fabric and a sink take, all told."""

from __future__ import annotations

from meterfabric_operator.children import (
    enrolment_rights,
    injection_binding,
    namespace_config,
    network_policies,
    relay_budget,
    relay_deployment,
    relay_service,
    sink_workload,
    trust_bundle,
)
from meterfabric_operator.objects import Object
from meterfabric_operator.wanted import FabricFacts, SinkFacts


def of_fabric(facts: FabricFacts) -> list[Object]:
    """What runs for a fabric beside its Secrets and sinks, in the order in which it is applied.

    Where namespaces are listed, the chart made once what has no namespace. The webhook needs nothing of a fabric's own.
    """
    made = [
        trust_bundle.build(facts),
        network_policies.for_relays(facts),
        relay_service.build(facts),
        relay_budget.build(facts),
        relay_deployment.build(facts),
        *(namespace_config.build(facts, namespace) for namespace in facts.namespaces),
    ]
    if facts.settings.namespaces:
        return made
    if facts.settings.injection == "policy":
        made.append(injection_binding.build(facts))
    # A binding of nobody would stand there for nothing.
    return [*made, enrolment_rights.build(facts)] if facts.namespaces else made


def of_sink(facts: SinkFacts) -> list[Object]:
    """What runs for a sink beside its Secret."""
    return [network_policies.for_sink(facts), sink_workload.build(facts)]
