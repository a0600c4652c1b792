"""Keys of a fabric deleted on a real cluster, under load: what is accepted, verified and audited, and what is said."""

import json
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.x509 import (
    AuthorityKeyIdentifier,
    SubjectKeyIdentifier,
    load_pem_x509_certificate,
    load_pem_x509_certificates,
)

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed, is_ready, pod
from tests.kubernetes.loads import Load, audit
from tests.kubernetes.standing import pods

pytestmark = [pytest.mark.cluster, pytest.mark.long]

END = "-----END CERTIFICATE-----"
SHORTEST = "10m"
"""The shortest that certificates may live. They begin five minutes before now, so a third of it has passed at once."""


def bundle(installed: Installed, name: str = f"meterfabric.{METERING}.demo", where: str = SHOP) -> list[int]:
    """The serial numbers of the roots that are published, oldest first."""
    held = installed.get("configmap", name, where) or {"data": {"trust.pem": ""}}
    pem = held["data"]["trust.pem"].encode()
    return [each.serial_number for each in load_pem_x509_certificates(pem)] if pem else []


def known(installed: Installed) -> bool:
    """Whether every relay and sink has the bundle that is published: kubelets bring it now and then."""
    published = (installed.get("configmap", "demo-trust", METERING) or {})["data"]["trust.pem"]
    held = [
        installed.kubectl("exec", each, "-n", METERING, "--", "cat", "/etc/meterfabric/trust/trust.pem")
        for component in ("relay", "sink")
        for each in pods(installed, component)
    ]
    return held == [published] * len(held)


def spare(installed: Installed) -> bytes:
    """The key identifier of the root that is to issue once the authority is lost."""
    held = installed.get("secret", "demo-history", METERING)
    assert held is not None
    pem = b64decode(held["data"]["spare.pem"])
    found = load_pem_x509_certificate(pem).extensions.get_extension_for_class(SubjectKeyIdentifier)
    return found.value.key_identifier


def issuers(installed: Installed, pod: str) -> list[bytes]:
    """By which roots the certificates were signed under which a sink took a pod's records, by their key identifiers."""
    rows = installed.sql(
        "SELECT convert_from(chain, 'UTF8') FROM meterfabric.certificates"
        f" WHERE origin LIKE '%/{SHOP}/{pod}/%' ORDER BY first_seen"
    )
    text = "\n".join("\t".join(row) for row in rows)
    return [_issuer(each + END) for each in text.split(END) if each.strip()]


def _issuer(pem: str) -> bytes:
    found = load_pem_x509_certificate(pem.strip().encode()).extensions.get_extension_for_class(AuthorityKeyIdentifier)
    assert found.value.key_identifier is not None
    return found.value.key_identifier


def identity(installed: Installed) -> dict[str, Any]:
    return installed.condition("meteringfabric", "demo", METERING, "IdentityReady")


def warned(installed: Installed, reason: str) -> list[str]:
    """The notes of events of the fabric with this reason."""
    found = json.loads(installed.kubectl("get", "events.v1.events.k8s.io", "-n", METERING, "-o", "json"))
    return [each["note"] for each in found["items"] if each["reason"] == reason]


def change(installed: Installed, **spec: Any) -> None:
    patch = json.dumps({"spec": spec})
    installed.kubectl("patch", "meteringfabric", "demo", "-n", METERING, "--type=merge", "-p", patch)


@pytest.fixture
def renewing(installed: Installed) -> Iterator[Installed]:
    """With certificates that are renewed soon."""
    change(installed, identity={"certificateLifetime": SHORTEST})
    yield installed
    change(installed, identity={"certificateLifetime": None})


def test_a_pods_certificate_is_renewed_while_it_meters(renewing: Installed) -> None:
    renewing.apply(pod(renewing, "renews", 100, pause=0.2))

    def certificates() -> int:
        query = f"SELECT count(*) FROM meterfabric.certificates WHERE origin LIKE '%/{SHOP}/renews/%'"
        return int(renewing.sql(query)[0][0])

    until("the sink took records under another certificate", SECONDS, lambda: certificates() >= 2)
    until("all its records are there", SECONDS, lambda: renewing.records("renews") == 100)
    logs = f"SELECT count(*) FROM meterfabric.logs WHERE origin LIKE '%/{SHOP}/renews/%'"
    assert renewing.sql(logs) == [["1"]]


def test_an_authority_deleted_under_load_loses_nothing_and_old_records_stay_verified(renewing: Installed) -> None:
    installed = renewing
    until("all know the spare root", 2 * SECONDS, lambda: known(installed))
    before, following = bundle(installed), spare(installed)
    installed.apply(pod(installed, "old", 50))
    until("old records are there", SECONDS, lambda: installed.records("old") == 50)
    through = Load(installed, "through")
    through.start(pause=0.2)
    through.flows()
    old = set(issuers(installed, through.source))
    installed.kubectl("delete", "secret", "demo-authority", "-n", METERING)
    # It comes and goes before anybody could have been told of a root that was made only now.
    installed.apply(pod(installed, "new", 50))
    until("records of a new pod are there", SECONDS, lambda: installed.records("new") == 50)
    assert set(issuers(installed, "new")) == {following}
    until("it is made again", SECONDS, lambda: installed.get("secret", "demo-authority", METERING))
    until("sidecars are told of the next spare root", SECONDS, lambda: len(bundle(installed)) == len(before) + 1)
    assert bundle(installed)[:-1] == before
    assert bundle(installed, "demo-trust", METERING) == bundle(installed)
    until("it is said", SECONDS, lambda: identity(installed).get("reason") == "AuthorityReplaced")
    assert identity(installed)["status"] == "True"
    assert any("demo-authority was lost" in note for note in warned(installed, "AuthorityLost"))
    until("the sink took records under both roots", SECONDS, lambda: set(issuers(installed, through.source)) > old)
    assert through.arrives_once()
    for source in ("old", "new"):
        query = f"SELECT count(*) FROM meterfabric.records WHERE source = '{source}'"
        assert installed.sql(query) == [["50"]]
    assert audit(installed)["whole"]
    installed.kubectl("annotate", "secret", "demo-authority", "-n", METERING, "meterfabric.io/replaced-")
    until("a person has seen it", SECONDS, lambda: identity(installed).get("reason") == "Issuing")


def test_where_the_history_is_deleted_too_a_person_says_what_is_trusted(installed: Installed) -> None:
    until("the fabric is ready", SECONDS, lambda: is_ready(installed))
    before = bundle(installed)
    installed.apply(pod(installed, "goes-on", 300, pause=0.1))
    until("records arrive", SECONDS, lambda: installed.records("goes-on") > 0)
    # An operator that acts would make the one again before the other is gone.
    change(installed, reconcile="Paused")
    paused = ("meteringfabric", "demo", METERING, "Ready")
    until("it looks away", SECONDS, lambda: installed.condition(*paused).get("reason") == "Paused")
    installed.kubectl("delete", "secret", "demo-authority", "demo-history", "-n", METERING)
    change(installed, reconcile="Active")
    until("it is said", SECONDS, lambda: identity(installed).get("reason") == "TrustLost")
    assert installed.names("secret", METERING, "meterfabric.io/fabric=metering.demo") == ["billing-sink", "demo-relay"]
    assert bundle(installed) == bundle(installed, "demo-trust", METERING) == before
    until("who has a certificate delivers", SECONDS, lambda: installed.records("goes-on") == 300)
    # What the condition says is a command that works.
    command = "kubectl create secret" + identity(installed)["message"].rpartition("kubectl create secret")[2]
    plan = installed.kubernetes.plan
    # Without a home kubectl would keep its cache in this tree.
    environment = {"HOME": str(plan.folder), "KUBECONFIG": str(plan.kubeconfig), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, env=environment)
    until("another root is made", SECONDS, lambda: identity(installed).get("reason") == "AuthorityReplaced")
    # And a spare one: the key of the one before it was lost.
    until("sidecars are told of both", SECONDS, lambda: bundle(installed)[:-2] == before)
    # It stays: this root was made only now, and relays are told when their kubelet looks.
    installed.apply(pod(installed, "afterwards", 20, then="time.sleep(600)"))
    until("records of a new pod are there", 2 * SECONDS, lambda: installed.records("afterwards") == 20)
    installed.kubectl("delete", "pod", "afterwards", "-n", SHOP, "--wait=false")
    assert audit(installed)["whole"]
