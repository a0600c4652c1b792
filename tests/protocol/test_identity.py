from base64 import encodebytes
from collections.abc import Iterator
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import (
    CertificateError,
    ChainVerifier,
    Producer,
    Sink,
    TrustBundle,
    match_origin,
    origin,
    same_identity,
    verify_chain,
)
from tests.pki import DAY, FABRIC, NOW, PRODUCER, SINK, Authority, key_usage, pem, raw

ROOT = Authority()
BUNDLE = TrustBundle(ROOT.pem)
KEY = Ed25519PrivateKey.generate()


def reason(chain: bytes, bundle: TrustBundle = BUNDLE, at: datetime = NOW, **wanted: str) -> str:
    with pytest.raises(CertificateError) as caught:
        verify_chain(chain, bundle, at, **wanted)  # type: ignore[arg-type]
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


def test_a_producers_chain_proves_its_pod_and_log() -> None:
    identity = verify_chain(ROOT.chain(KEY), BUNDLE, NOW, role="producer", fabric=FABRIC)
    assert identity.subject == Producer("example.org", FABRIC, "shop", "web", "web-0", "6a1f-22")
    assert identity.role == "producer"
    assert identity.public_key == raw(KEY)
    assert identity.name == origin(FABRIC, "shop", "web-0", raw(KEY))
    assert (identity.not_before, identity.not_after) == (NOW - DAY, NOW + DAY)


def test_a_sinks_chain_proves_its_cosigner_name() -> None:
    identity = verify_chain(ROOT.chain(KEY, SINK), BUNDLE, NOW, role="sink", fabric=FABRIC)
    assert identity.subject == Sink("example.org", FABRIC, "billing")
    assert identity.name == f"{FABRIC}/sink/billing"


def test_validity_includes_both_ends() -> None:
    chain = ROOT.chain(KEY)
    for at in (NOW - DAY, NOW + DAY):
        verify_chain(chain, BUNDLE, at)


def test_a_chain_outside_its_validity_is_refused() -> None:
    chain = ROOT.chain(KEY)
    second = DAY / 86400
    assert reason(chain, at=NOW - DAY - second) == "not-yet-valid"
    assert reason(chain, at=NOW + DAY + second) == "expired"


def test_an_old_chain_verifies_at_the_time_it_was_used_even_under_a_root_that_is_gone() -> None:
    old = Authority(name="old", not_before=NOW - 3000 * DAY, not_after=NOW - 1000 * DAY)
    bundle = TrustBundle(ROOT.pem + old.pem)
    chain = old.chain(KEY, not_before=NOW - 2000 * DAY)
    assert verify_chain(chain, bundle, NOW - 1999 * DAY).public_key == raw(KEY)
    assert reason(chain, bundle) == "expired"


def test_the_roots_own_validity_counts() -> None:
    short = Authority(not_after=NOW - DAY / 2)
    chain = short.chain(KEY)
    bundle = TrustBundle(short.pem)
    verify_chain(chain, bundle, NOW - DAY / 2)
    assert reason(chain, bundle) == "expired"
    late = Authority(not_before=NOW + DAY / 2)
    assert reason(late.chain(KEY), TrustBundle(late.pem)) == "not-yet-valid"


def test_a_root_renewed_under_its_old_key_serves_for_both_times() -> None:
    before = Authority(not_before=NOW - 10 * DAY, not_after=NOW)
    after = Authority(key=before.key, not_before=NOW, not_after=NOW + 10 * DAY)
    bundle = TrustBundle(before.pem + after.pem)
    chain = before.chain(KEY)
    for at in (NOW - DAY, NOW, NOW + DAY):
        verify_chain(chain, bundle, at)


def test_another_authority_is_unknown_even_under_the_same_name() -> None:
    assert reason(Authority(name="other").chain(KEY)) == "unknown-authority"
    assert reason(Authority().chain(KEY)) == "unknown-authority"


def test_a_root_vouches_for_its_own_trust_domain_only() -> None:
    foreign = Authority(names=("spiffe://other.org",))
    assert reason(foreign.chain(KEY), TrustBundle(foreign.pem)) == "unknown-authority"
    silent = Authority(names=())
    verify_chain(silent.chain(KEY), TrustBundle(silent.pem), NOW)


def test_intermediates_are_followed_and_the_root_may_be_sent_along() -> None:
    middle = Authority(name="middle", names=(), parent=ROOT)
    lower = Authority(name="lower", names=(), parent=middle)
    leaf = lower.issue(KEY, PRODUCER)
    for chain in (pem(leaf) + lower.pem + middle.pem, pem(leaf) + lower.pem + middle.pem + ROOT.pem):
        assert verify_chain(chain, BUNDLE, NOW).public_key == raw(KEY)
    assert reason(pem(leaf) + middle.pem + lower.pem) == "unknown-authority"
    assert reason(pem(leaf) + lower.pem) == "unknown-authority"
    assert reason(pem(leaf)) == "unknown-authority"


def test_an_intermediate_that_expired_ends_the_chain() -> None:
    middle = Authority(name="middle", names=(), parent=ROOT, not_after=NOW - DAY)
    assert reason(pem(middle.issue(KEY, PRODUCER)) + middle.pem) == "expired"


def test_a_leaf_cannot_issue() -> None:
    leaf_as_authority = Authority(name="leaf", names=(PRODUCER,), parent=ROOT, ca=False, certify=False)
    assert reason(pem(leaf_as_authority.issue(KEY, SINK)) + leaf_as_authority.pem) == "profile"


def test_an_authority_that_may_not_sign_certificates_does_not() -> None:
    middle = Authority(name="middle", names=(), parent=ROOT, certify=False)
    assert reason(pem(middle.issue(KEY, PRODUCER)) + middle.pem) == "profile"


def test_path_lengths_hold() -> None:
    flat = Authority(path_length=0)
    verify_chain(flat.chain(KEY), TrustBundle(flat.pem), NOW)
    middle = Authority(name="middle", names=(), parent=flat)
    assert reason(pem(middle.issue(KEY, PRODUCER)) + middle.pem, TrustBundle(flat.pem)) == "unknown-authority"
    upper = Authority(name="upper", names=(), parent=ROOT, path_length=0)
    lower = Authority(name="lower", names=(), parent=upper)
    assert reason(pem(lower.issue(KEY, PRODUCER)) + lower.pem + upper.pem) == "profile"


def test_a_chain_is_bounded_in_length_and_bytes() -> None:
    authorities = [ROOT]
    for number in range(4):
        authorities.append(Authority(name=f"a{number}", names=(), parent=authorities[-1]))
    leaf = authorities[-1].issue(KEY, PRODUCER)
    assert reason(pem(leaf) + b"".join(each.pem for each in reversed(authorities[1:]))) == "malformed"
    assert reason(ROOT.chain(KEY) + b"\n" * 16384) == "malformed"


def wrong_leaves() -> Iterator[tuple[str, x509.Certificate]]:
    yield "no name", ROOT.issue(KEY)
    yield "two names", ROOT.issue(KEY, PRODUCER, SINK)
    yield "a name that isn't ours", ROOT.issue(KEY, "spiffe://example.org/workload")
    dns = x509.SubjectAlternativeName([x509.DNSName("web"), x509.UniformResourceIdentifier(PRODUCER)])
    yield "a DNS name", ROOT.issue(KEY, names=dns)
    yield "an escaped name", ROOT.issue(KEY, PRODUCER.replace("web-0", "web%2f0"))
    yield "no purpose", ROOT.issue(KEY, PRODUCER, purposes=())
    yield "another purpose", ROOT.issue(KEY, PRODUCER, purposes=(ExtendedKeyUsageOID.CODE_SIGNING,))
    yield "no signatures", ROOT.issue(KEY, PRODUCER, usage=key_usage())
    yield "signs certificates", ROOT.issue(KEY, PRODUCER, usage=key_usage(sign=True, certify=True))
    yield "is an authority", ROOT.issue(KEY, PRODUCER, extra=[(x509.BasicConstraints(True, None), True)])
    yield "ECDSA", ROOT.issue(ec.generate_private_key(ec.SECP256R1()).public_key(), PRODUCER)
    anybody = Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31))
    yield "a key under which anybody can sign", ROOT.issue(anybody, PRODUCER)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    yield "unknown critical extension", ROOT.issue(KEY, PRODUCER, extra=[(unknown, True)])


@pytest.mark.parametrize("leaf", [pytest.param(leaf, id=name) for name, leaf in wrong_leaves()])
def test_a_leaf_that_breaks_a_rule_is_refused(leaf: x509.Certificate) -> None:
    assert reason(pem(leaf)) == "profile"


def test_an_unknown_extension_that_is_not_critical_is_passed_over() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    verify_chain(pem(ROOT.issue(KEY, PRODUCER, extra=[(unknown, False)])), BUNDLE, NOW)


def test_an_authority_you_bring_may_have_an_ecdsa_or_rsa_key_that_is_long_enough() -> None:
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)):
        brought = Authority(key=key)
        verify_chain(brought.chain(KEY), TrustBundle(brought.pem), NOW)
    weak = Authority(key=rsa.generate_private_key(65537, 1024))
    with pytest.raises(Malformed, match="1024"):
        TrustBundle(weak.pem)


def test_role_and_fabric_are_held_to() -> None:
    chain = ROOT.chain(KEY)
    assert reason(chain, role="sink") == "wrong-role"
    assert reason(chain, fabric="metering.other") == "wrong-fabric"


@pytest.mark.parametrize("chain", [b"", b"hello", ROOT.chain(KEY)[:-40], b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_chain_is_malformed(chain: bytes) -> None:
    assert reason(chain) == "malformed"


LEAF_DER = x509.load_pem_x509_certificate(ROOT.chain(KEY)).public_bytes(Encoding.DER)


@given(st.data())
def test_a_chain_with_any_byte_changed_proves_nothing_else(data: st.DataObject) -> None:
    der = bytearray(LEAF_DER)
    position = data.draw(st.integers(0, len(der) - 1))
    der[position] ^= data.draw(st.integers(1, 255))
    chain = b"-----BEGIN CERTIFICATE-----\n" + encodebytes(der) + b"-----END CERTIFICATE-----\n"
    outcome: object
    try:
        outcome = verify_chain(chain, BUNDLE, NOW)
    except CertificateError as error:
        outcome = error.reason
    # What the signature doesn't cover, such as the count of unused bits of its own bit string, may read the same.
    assert outcome in ("malformed", "unknown-authority", verify_chain(ROOT.chain(KEY), BUNDLE, NOW))


@pytest.mark.parametrize(
    "bundle",
    [
        b"",
        b"nonsense",
        ROOT.chain(KEY),
        Authority(ca=False).pem,
        Authority(certify=False).pem,
        Authority(name="middle", parent=ROOT).pem,
        ROOT.pem * 65,
    ],
    ids=["empty", "nonsense", "leaf", "no authority", "no signing", "intermediate", "too many"],
)
def test_a_bundle_holds_roots_only(bundle: bytes) -> None:
    with pytest.raises(Malformed, match="trust bundle"):
        TrustBundle(bundle)


def test_a_root_given_twice_counts_once() -> None:
    assert len(TrustBundle(ROOT.pem * 2).roots) == 1


def test_a_remembered_chain_is_still_judged_by_time_role_and_fabric() -> None:
    verifier = ChainVerifier(BUNDLE)
    chain = ROOT.chain(KEY)
    first = verifier.verify(chain, NOW)
    assert verifier.verify(bytes(bytearray(chain)), NOW) is first
    for at, wanted in (
        (NOW + 2 * DAY, "expired"),
        (NOW - 2 * DAY, "not-yet-valid"),
    ):
        with pytest.raises(CertificateError) as caught:
            verifier.verify(chain, at)
        assert caught.value.reason == wanted
    with pytest.raises(CertificateError, match="wrong-role"):
        verifier.verify(chain, NOW, role="sink")


def test_the_verifier_remembers_the_chains_used_last_and_no_failure() -> None:
    verifier = ChainVerifier(BUNDLE, capacity=2)
    kept, *others = (ROOT.chain(Ed25519PrivateKey.generate()) for _ in range(4))
    identity = verifier.verify(kept, NOW)
    for other in others:
        verifier.verify(other, NOW)
        assert verifier.verify(kept, NOW) is identity
        assert len(verifier) == 2
    with pytest.raises(CertificateError):
        verifier.verify(Authority().chain(KEY), NOW)
    assert len(verifier) == 2


def test_an_origin_matches_only_its_own_certificate() -> None:
    identity = verify_chain(ROOT.chain(KEY), BUNDLE, NOW)
    match_origin(identity, origin(FABRIC, "shop", "web-0", raw(KEY)))
    other_key = raw(Ed25519PrivateKey.generate())
    for name in (
        origin(FABRIC, "shop", "web-0", other_key),
        origin(FABRIC, "shop", "web-1", raw(KEY)),
        origin(FABRIC, "shop2", "web-0", raw(KEY)),
        origin("metering.other", "shop", "web-0", raw(KEY)),
    ):
        with pytest.raises(CertificateError, match="wrong-origin"):
            match_origin(identity, name)
    with pytest.raises(CertificateError, match="wrong-role"):
        match_origin(verify_chain(ROOT.chain(KEY, SINK), BUNDLE, NOW), f"{FABRIC}/sink/billing")


def test_the_same_pod_under_another_key_is_the_same_identity() -> None:
    identity = verify_chain(ROOT.chain(KEY), BUNDLE, NOW)
    other_key = raw(Ed25519PrivateKey.generate())
    assert same_identity(identity, origin(FABRIC, "shop", "web-0", other_key))
    assert not same_identity(identity, origin(FABRIC, "shop", "web-1", other_key))
    assert not same_identity(identity, origin(FABRIC, "shop2", "web-0", other_key))
    assert not same_identity(identity, origin("metering.other", "shop", "web-0", other_key))
    sink = verify_chain(ROOT.chain(KEY, SINK), BUNDLE, NOW)
    assert not same_identity(sink, origin(FABRIC, "shop", "web-0", raw(KEY)))


def test_a_pod_with_a_long_name_matches_its_origin() -> None:
    pod = "w" * 60 + "." + "x" * 60
    identity = verify_chain(ROOT.chain(KEY, PRODUCER.replace("web-0", pod)), BUNDLE, NOW)
    match_origin(identity, origin(FABRIC, "shop", pod, raw(KEY)))
    assert same_identity(identity, origin(FABRIC, "shop", pod, bytes(32)))
