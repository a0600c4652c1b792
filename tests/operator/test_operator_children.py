"""What runs for fabrics and sinks, told by behaviour: what a process is given, who may reach it, how it is rolled."""

import json
from base64 import b64decode
from typing import Any

import pytest

from meterfabric_operator.admission import sidecar_values
from meterfabric_operator.children import (
    enrolment_rights,
    fabric_children,
    injection_binding,
    namespace_config,
    network_policies,
    relay_deployment,
    relay_service,
    sink_workload,
)
from meterfabric_operator.keys import secrets
from meterfabric_operator.objects import FABRIC, INJECT, MANAGED_BY, key_of
from meterfabric_relay.settings import Settings as RelaySettings
from meterfabric_runtime.settings import load
from meterfabric_sidecar import sinks as sidecar_sinks
from meterfabric_sidecar.settings import Settings as SidecarSettings
from meterfabric_sink.settings import Settings as SinkSettings
from tests.operator.facts import SETTINGS, environment, facts, sink, sink_facts

RESTRICTED_VOLUMES = {"configMap", "secret", "projected", "emptyDir", "ephemeral", "persistentVolumeClaim"}


def workloads() -> list[dict[str, Any]]:
    return [
        relay_deployment.build(facts(sink())),
        sink_workload.build(sink_facts(sink())),
        sink_workload.build(sink_facts(sink(destination={"sqlite": {}}))),
    ]


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    found = workload["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


def test_a_relay_finds_its_settings_in_its_environment() -> None:
    made = relay_deployment.build(facts(sink(), relay={"memory": "32Mi", "maxConnections": 500}))
    (container,) = pod_of(made)["containers"]
    settings = load(RelaySettings, "relay", file=None, environ=environment(container))
    assert settings.fabric == "metering.demo"
    assert settings.name == "pod-1"
    assert settings.host == settings.http_host == "10.0.0.7"
    assert (settings.memory, settings.connections) == (32 << 20, 500)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert (settings.port, settings.http_port) == (ports["relay"], ports["pages"])


@pytest.mark.parametrize(
    ("destination", "url"),
    [
        ({"postgres": {"url": "postgresql://db/usage"}}, "postgresql://db/usage"),
        ({"postgres": {"secretRef": {"name": "database"}}}, "postgresql://from-a-secret/"),
        ({"sqlite": {}}, "sqlite:/var/lib/meterfabric/records.db"),
        ({"file": {}}, "file:/var/lib/meterfabric/records"),
    ],
)
def test_a_worker_finds_its_settings_in_its_environment(destination: dict[str, Any], url: str) -> None:
    made = sink_workload.build(sink_facts(sink(destination=destination)))
    (container,) = pod_of(made)["containers"]
    settings = load(SinkSettings, "sink", file=None, environ=environment(container))
    assert (settings.fabric, settings.name, settings.worker) == ("metering.demo", "billing", "pod-1")
    assert settings.relays == "dns://demo-relay.metering.svc.cluster.local.:4700"
    assert settings.url == url


def test_a_password_never_stands_in_an_object_of_ours() -> None:
    made = json.dumps(sink_workload.build(sink_facts(sink())))
    assert "postgresql://" not in made
    assert '"secretKeyRef": {"name": "database", "key": "url"}' in made


def test_pods_keep_to_pod_security_restricted_and_to_themselves() -> None:
    for workload in workloads():
        pod = pod_of(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= RESTRICTED_VOLUMES
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_a_selector_finds_its_own_pods() -> None:
    for workload in workloads():
        labels = workload["spec"]["template"]["metadata"]["labels"].items()
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels
    relays, worker, _ = workloads()
    assert (
        not relays["spec"]["selector"]["matchLabels"].items()
        <= worker["spec"]["template"]["metadata"]["labels"].items()
    )


def test_relays_are_rolled_without_one_missing() -> None:
    made = relay_deployment.build(facts(relay={"replicas": 3}))["spec"]
    assert made["replicas"] == 3
    assert made["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_sink_that_joins_rolls_no_relay() -> None:
    before, after = facts(sink("a")), facts(sink("a"), sink("b"))
    assert relay_deployment.build(before) == relay_deployment.build(after)


def test_a_changed_database_secret_rolls_the_workers() -> None:
    made = sink_workload.build(sink_facts(sink()))
    assert made["spec"]["template"]["metadata"]["annotations"]["meterfabric.io/url"] == "7"


def test_several_workers_share_a_database_and_one_has_a_volume() -> None:
    shared = sink_workload.build(sink_facts(sink(workers=3)))
    alone = sink_workload.build(sink_facts(sink(destination={"file": {"storage": {"size": "5Gi"}}})))
    assert (shared["kind"], shared["spec"]["replicas"]) == ("Deployment", 3)
    assert (alone["kind"], alone["spec"]["replicas"]) == ("StatefulSet", 1)
    (claim,) = alone["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert "storageClassName" not in claim["spec"]
    assert alone["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    assert alone["spec"]["podManagementPolicy"] == "Parallel"


def test_the_relays_service_has_no_address_of_its_own() -> None:
    made = relay_service.build(facts())
    assert made["spec"]["clusterIP"] == "None"
    assert relay_service.url(facts()).startswith(f"dns://{made['metadata']['name']}.metering.svc.")


def test_relays_hear_their_producers_and_sinks_and_call_nobody() -> None:
    made = network_policies.for_relays(facts())["spec"]
    assert made["egress"] == []
    records, pages = made["ingress"]
    assert records["from"][0] == {"namespaceSelector": {"matchLabels": {FABRIC: "metering.demo"}}}
    assert [each["port"] for each in records["ports"]] == [4700]
    assert "from" not in pages


def test_no_network_policy_is_made_in_a_users_namespace() -> None:
    made = fabric_children.of_fabric(facts(sink())) + fabric_children.of_sink(sink_facts(sink()))
    assert {each["metadata"]["namespace"] for each in made if each["kind"] == "NetworkPolicy"} == {"metering"}


def test_everything_says_whose_it_is_and_what_is_in_namespaces_goes_with_its_owner() -> None:
    made = fabric_children.of_fabric(facts(sink())) + fabric_children.of_sink(sink_facts(sink()))
    assert len({key_of(each) for each in made}) == len(made)
    for each in made:
        assert each["metadata"]["labels"][FABRIC] == "metering.demo"
        assert each["metadata"]["labels"][MANAGED_BY] == "meterfabric-operator"
    owned = {each["kind"] for each in made if "ownerReferences" in each["metadata"]}
    unowned = {each["kind"] for each in made} - owned
    assert unowned == {"ConfigMap", "ClusterRoleBinding", "MutatingAdmissionPolicyBinding"}


def test_nobody_may_enrol_where_no_namespace_joined() -> None:
    kinds = {each["kind"] for each in fabric_children.of_fabric(facts(namespaces=()))}
    assert "ClusterRoleBinding" not in kinds


def test_the_service_accounts_of_joined_namespaces_may_enrol_and_no_others() -> None:
    made = enrolment_rights.build(facts(namespaces=("a", "b")))
    assert [each["name"] for each in made["subjects"]] == ["system:serviceaccounts:a", "system:serviceaccounts:b"]


def test_the_namespace_and_the_pod_decide_and_the_fabrics_own_namespace_never_joins() -> None:
    match = injection_binding.build(facts())["spec"]["matchResources"]
    assert match["namespaceSelector"]["matchLabels"] == {FABRIC: "metering.demo"}
    (never,) = match["namespaceSelector"]["matchExpressions"]
    assert (never["operator"], never["values"]) == ("NotIn", ["metering"])
    assert match["objectSelector"]["matchLabels"] == {INJECT: "true"}


def test_a_sidecar_reads_the_list_of_sinks() -> None:
    made = namespace_config.build(
        facts(sink("a"), sink("b", required=False), sink("c", whenFull="ExpireOldest"), delivery={"expiry": "Never"}),
        "shop",
    )
    policies = {each.name: each for each in sidecar_sinks.decode(made["data"]["sinks.json"])}
    assert policies["a"].when_full == "refuse"
    assert policies["b"].when_full == policies["c"].when_full == "expire-oldest"
    assert not policies["b"].required
    assert policies["a"].expiry is None


def test_what_admission_gives_is_what_a_sidecar_reads() -> None:
    from meterfabric_operator.admission.sidecar import fixed_environment

    made = sidecar_values.build(facts(sink(), sidecar={"spool": {"quota": "2Gi"}}, delivery={"drain": "1m"}))
    given = environment({"env": made["environment"] + fixed_environment()})
    given["METERFABRIC_SIDECAR_KUBERNETES_HOST"] = "10.96.0.1"
    given["METERFABRIC_SIDECAR_KUBERNETES_PORT"] = "443"
    settings = load(SidecarSettings, "sidecar", file=None, environ=given)
    assert settings.fabric == "metering.demo"
    assert (settings.namespace, settings.pod, settings.pod_uid) == ("shop", "pod-1", "u-1")
    assert settings.service_account == "web"
    assert settings.pages_host == "10.0.0.7"
    assert settings.kubernetes is not None
    assert (settings.kubernetes.host, settings.kubernetes.port) == ("10.96.0.1", 443)
    assert settings.spool.quota == 2 << 30
    assert [each.name for each in sidecar_sinks.decode(settings.sinks_given)] == ["billing"]
    assert int(made["ephemeralStorage"]) > settings.spool.quota
    assert made["gracePeriodSeconds"] >= 60


def test_a_spool_on_a_claim_takes_no_disk_of_the_node() -> None:
    made = sidecar_values.build(facts(sidecar={"spool": {"quota": "2Gi", "claim": {"storageClassName": "fast"}}}))
    assert int(made["ephemeralStorage"]) < 1 << 30
    assert int(made["claim"]["size"]) > 2 << 30
    assert made["claim"]["storageClassName"] == "fast"


def test_secrets_that_outlive_their_fabric_have_no_owner_and_a_sinks_has() -> None:
    kept = [secrets.authority(facts(), {"root-0001.pem": b"x"}), secrets.relay(facts())]
    assert all("ownerReferences" not in each["metadata"] for each in kept)
    of_sink = secrets.sink(sink_facts(sink()))
    assert of_sink["metadata"]["ownerReferences"][0]["uid"] == "sink-uid"
    assert b64decode(of_sink["data"]["key.pem"]) == b"KEY"


def test_secrets_arent_shown_where_facts_are() -> None:
    assert "s" * 40 not in repr(facts())
    assert "KEY" not in repr(sink_facts(sink()))


def test_images_and_how_they_are_pulled_are_the_charts_to_say() -> None:
    for workload in workloads():
        (container,) = pod_of(workload)["containers"]
        assert container["image"] == SETTINGS.image
        assert container["imagePullPolicy"] == "IfNotPresent"
