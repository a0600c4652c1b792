"""By what right a log is taken."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.delivery.credential import Credential, NoCredential, bare, judge_credential
from meterfabric_protocol.identity import ChainVerifier, TrustBundle, origin
from tests.pki import FABRIC, NOW, Authority, raw

AUTHORITY = Authority()
KEY = Ed25519PrivateKey.generate()
LOG = origin(FABRIC, "shop", "web-0", raw(KEY))
CHAIN = AUTHORITY.chain(KEY)
LATER = timedelta(days=5)


def judge(chain: bytes, *, log: str = LOG, vouched: bool = False, after: timedelta = timedelta()) -> Credential:
    return judge_credential(chain, log, ChainVerifier(TrustBundle(AUTHORITY.pem)), NOW + after, FABRIC, vouched=vouched)


def test_a_valid_certificate_of_this_log_is_enough() -> None:
    credential = judge(CHAIN)
    assert credential.public_key == raw(KEY)
    assert credential.certificate is not None


def test_another_logs_certificate_is_refused() -> None:
    other = origin(FABRIC, "shop", "web-0", raw(Ed25519PrivateKey.generate()))
    with pytest.raises(NoCredential) as refusal:
        judge(CHAIN, log=other)
    assert refusal.value.reason == "wrong-origin"


def test_a_bare_key_is_refused_unless_vouched_for() -> None:
    with pytest.raises(NoCredential) as refusal:
        judge(bare(KEY.public_key()))
    assert refusal.value.reason == "no-certificate"
    assert judge(bare(KEY.public_key()), vouched=True).certificate is None


def test_a_lapsed_certificate_is_refused_unless_vouched_for() -> None:
    with pytest.raises(NoCredential) as refusal:
        judge(CHAIN, after=LATER)
    assert refusal.value.reason == "expired"
    assert judge(CHAIN, vouched=True, after=LATER).public_key == raw(KEY)


def test_even_vouched_for_the_key_must_be_the_one_the_log_is_named_for() -> None:
    with pytest.raises(NoCredential) as refusal:
        judge(bare(Ed25519PrivateKey.generate().public_key()), vouched=True)
    assert refusal.value.reason == "wrong-origin"


@pytest.mark.parametrize("chain", [b"", b"x", b"-----BEGIN PUBLIC KEY-----\nx"])
def test_what_is_neither_is_refused(chain: bytes) -> None:
    with pytest.raises(NoCredential):
        judge(chain, vouched=True)
