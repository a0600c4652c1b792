"""Signatures verify as RFC 8032 says, but under no key that binds nobody."""

import pytest

from meterfabric_protocol.ed25519 import check_public_key, verify
from meterfabric_protocol.errors import BadSignature, Malformed

P = 2**255 - 19

# RFC 8032 section 7.1, test 2.
KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)

EIGHTH = int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little")
SMALL = [0, 1, P - 1, EIGHTH, P - EIGHTH]


def test_a_published_signature_verifies() -> None:
    verify("signer", KEY, SIGNATURE, b"\x72")


@pytest.mark.parametrize(
    ("key", "signature", "message"),
    [
        (KEY, SIGNATURE, b"\x73"),
        (KEY, SIGNATURE[:-1] + b"\x01", b"\x72"),
        (KEY, SIGNATURE[:-1], b"\x72"),
        (KEY, SIGNATURE + b"\0", b"\x72"),
        (KEY[:-1], SIGNATURE, b"\x72"),
        (b"\2" + bytes(31), SIGNATURE, b"\x72"),
        (b"", SIGNATURE, b"\x72"),
    ],
)
def test_anything_else_is_a_bad_signature(key: bytes, signature: bytes, message: bytes) -> None:
    with pytest.raises(BadSignature, match=r"^signer: "):
        verify("signer", key, signature, message)


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", SMALL)
def test_a_key_under_which_anybody_can_sign_is_refused(y: int, sign: int) -> None:
    key = (y | sign).to_bytes(32, "little")
    with pytest.raises(Malformed, match="small order"):
        check_public_key(key)
    # R the identity and S zero: under the identity as key, the library takes this for a signature of any message.
    with pytest.raises(BadSignature, match="small order"):
        verify("signer", key, b"\1" + bytes(63), b"whatever")


@pytest.mark.parametrize("y", range(P, 2**255))
def test_a_key_in_another_spelling_is_refused(y: int) -> None:
    with pytest.raises(Malformed, match="canonical"):
        check_public_key(y.to_bytes(32, "little"))


def test_an_honest_key_is_taken() -> None:
    check_public_key(KEY)
