"""Permits: only the pod's own word lets a sink pass over a batch."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol import batch as batches
from meterfabric_protocol.batch import BatchHeader
from meterfabric_protocol.delivery.permit import judge_permit, sign_permit
from meterfabric_protocol.errors import BadSignature, Malformed
from meterfabric_protocol.identity import CertificateError, ChainVerifier, TrustBundle, origin
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from tests.pki import FABRIC, NOW, PRODUCER, Authority, raw

AUTHORITY = Authority()
VERIFIER = ChainVerifier(TrustBundle(AUTHORITY.pem))
DEAD, PRESENT = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
CHAIN = AUTHORITY.chain(PRESENT)
OTHER_POD = PRODUCER.replace("web-0", "web-1")


def stub(key: Ed25519PrivateKey = DEAD) -> BatchHeader:
    leaves = [b'{"id":"1"}', b'{"id":"2"}']
    name = origin(FABRIC, "shop", "web-0", raw(key))
    header, _ = batches.seal(name, key, CompactRange.empty(), leaf_hashes(leaves), "records", batches.join(leaves))
    return header.stub()


STUB = stub()
PERMIT = sign_permit(STUB, ["billing"], PRESENT, CHAIN)


def test_the_present_key_of_the_pod_speaks_for_its_dead_logs() -> None:
    judge_permit(PERMIT, STUB, "billing", VERIFIER, NOW, FABRIC)


def test_a_permit_is_for_the_sinks_it_names() -> None:
    with pytest.raises(Malformed, match="archive"):
        judge_permit(PERMIT, STUB, "archive", VERIFIER, NOW, FABRIC)


def test_a_permit_is_for_one_batch() -> None:
    other = stub(Ed25519PrivateKey.generate())
    with pytest.raises(Malformed, match="not for"):
        judge_permit(PERMIT, other, "billing", VERIFIER, NOW, FABRIC)


def test_another_pod_permits_nothing() -> None:
    permit = sign_permit(STUB, ["billing"], PRESENT, AUTHORITY.chain(PRESENT, OTHER_POD))
    with pytest.raises(CertificateError, match="may not speak"):
        judge_permit(permit, STUB, "billing", VERIFIER, NOW, FABRIC)


def test_a_key_without_its_certificate_permits_nothing() -> None:
    permit = sign_permit(STUB, ["billing"], DEAD, CHAIN)
    with pytest.raises(BadSignature):
        judge_permit(permit, STUB, "billing", VERIFIER, NOW, FABRIC)


def test_a_certificate_that_lapsed_permits_nothing() -> None:
    with pytest.raises(CertificateError, match="valid until"):
        judge_permit(PERMIT, STUB, "billing", VERIFIER, NOW + timedelta(days=3), FABRIC)


@pytest.mark.parametrize("frame", [b"", b"x", bytes(100_000)])
def test_other_bytes_are_no_permit(frame: bytes) -> None:
    with pytest.raises(Malformed):
        judge_permit(frame, STUB, "billing", VERIFIER, NOW, FABRIC)


@given(st.integers(0, len(PERMIT) - len(CHAIN) - 1), st.integers(0, 7))
def test_no_bit_of_what_a_permit_says_may_change(at: int, bit: int) -> None:
    changed = bytearray(PERMIT)
    changed[at] ^= 1 << bit
    with pytest.raises((Malformed, BadSignature, CertificateError)):
        judge_permit(bytes(changed), STUB, "billing", VERIFIER, NOW, FABRIC)
