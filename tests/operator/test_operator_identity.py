"""Keys in Secrets: made once, kept, renewed in time, and never replaced where they can't be read."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import load_pem_x509_certificates

from meterfabric_operator.identity import (
    SINK_LIFETIME,
    IdentityError,
    data_of,
    keep_relay_key,
    keep_roots,
    keep_sink,
)
from meterfabric_protocol.identity import ChainVerifier, Sink, TrustBundle
from meterfabric_runtime.curve import from_z85

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SINK = Sink("example.org", "metering.demo", "billing")


def test_roots_are_made_once_and_read_again() -> None:
    made = keep_roots({}, "example.org", NOW)
    again = keep_roots(made.files, "example.org", NOW + timedelta(days=1))
    assert list(made.files) == ["root-0001.pem"]
    assert again.files == made.files


def test_a_root_of_which_half_has_passed_gets_a_successor() -> None:
    made = keep_roots({}, "example.org", NOW)
    later = keep_roots(made.files, "example.org", NOW + timedelta(days=1900))
    assert list(later.files) == ["root-0001.pem", "root-0002.pem"]
    assert later.bundle.count("BEGIN CERTIFICATE") == 2


def test_a_new_root_is_trusted_before_it_issues_and_the_old_ones_key_goes_then() -> None:
    made = keep_roots({}, "example.org", NOW)
    rotated = keep_roots(made.files, "example.org", NOW, rotate=True)
    assert rotated.issuing(NOW) == rotated.named[0][1]
    later = NOW + timedelta(hours=25)
    settled = keep_roots(rotated.files, "example.org", later)
    assert settled.issuing(later) == settled.named[1][1]
    assert settled.named[0][1].key is None
    assert settled.bundle == rotated.bundle


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_root_is_told_and_not_replaced(damage: bytes) -> None:
    with pytest.raises(IdentityError, match=r"root-0001\.pem is damaged.*backup"):
        keep_roots({"root-0001.pem": damage}, "example.org", NOW)


def test_roots_without_keys_issue_nothing() -> None:
    made = keep_roots({}, "example.org", NOW)
    public = {name: root.pem for name, root in made.named}
    with pytest.raises(IdentityError, match="no root has its key"):
        keep_roots(public, "example.org", NOW).issuing(NOW)


def test_the_relays_key_is_kept() -> None:
    secret, public = keep_relay_key({})
    assert keep_relay_key({"relays.curve": secret.encode() + b"\n"}) == (secret, public)
    assert len(from_z85(public)) == 32
    with pytest.raises(IdentityError, match=r"relays\.curve"):
        keep_relay_key({"relays.curve": b"not a key"})


def test_a_sinks_certificate_is_its_own_and_is_renewed_when_a_third_has_passed() -> None:
    roots = keep_roots({}, "example.org", NOW)
    made = keep_sink({}, SINK, roots, NOW)
    verifier = ChainVerifier(TrustBundle(roots.bundle.encode()))
    assert verifier.verify(made.chain.encode(), NOW, role="sink", fabric="metering.demo").subject == SINK
    files = {"key.pem": made.key.encode(), "chain.pem": made.chain.encode()}
    assert keep_sink(files, SINK, roots, NOW + SINK_LIFETIME / 4) == made
    renewed = keep_sink(files, SINK, roots, NOW + SINK_LIFETIME / 2)
    assert renewed.key == made.key
    assert renewed.not_after > made.not_after


def test_a_key_that_a_person_brings_gets_a_certificate() -> None:
    roots = keep_roots({}, "example.org", NOW)
    first, second = keep_sink({}, SINK, roots, NOW), keep_sink({}, SINK, roots, NOW)
    mixed = keep_sink({"key.pem": second.key.encode(), "chain.pem": first.chain.encode()}, SINK, roots, NOW)
    assert mixed.key == second.key
    keys = [load_pem_x509_certificates(each.chain.encode())[0].public_key() for each in (mixed, second)]
    assert keys[0] == keys[1]


def test_a_damaged_sink_key_is_told_and_not_replaced() -> None:
    roots = keep_roots({}, "example.org", NOW)
    with pytest.raises(IdentityError, match=r"key\.pem is damaged"):
        keep_sink({"key.pem": b"?"}, SINK, roots, NOW)


def test_a_secret_that_isnt_base64_is_told_by_its_name() -> None:
    with pytest.raises(IdentityError, match="Secret demo-authority"):
        data_of({"metadata": {"name": "demo-authority"}, "data": {"root-0001.pem": "*"}})
    assert data_of(None) == data_of({"metadata": {"name": "a"}}) == {}
