"""Ed25519 verification that binds the signer (RFC 8032).

The library verifies under any public key. Under the few keys of small order anybody can make a signature that fits any
message, so the holder of such a key could deny whatever he signed. They are refused here, wherever a key comes from.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .errors import BadSignature, Malformed

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P


def verify(name: str, public_key: bytes, signature: bytes, message: bytes) -> None:
    """Check a signature (64 bytes) over a message by a public key (32 bytes); `name` is the signer's, for the error.

    Raises BadSignature, also where the key is none or is one that binds nobody.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise BadSignature(name, f"a signature of {len(signature)} bytes, not {SIGNATURE_BYTES}")
    try:
        check_public_key(public_key)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except Malformed as error:
        raise BadSignature(name, str(error)) from error
    except (InvalidSignature, ValueError) as error:
        raise BadSignature(name, "the signature doesn't verify") from error


def check_public_key(public_key: bytes) -> None:
    """Check that a public key (32 bytes) is written in its one canonical way and isn't of small order.

    Raises Malformed. A key whose bytes are no point of the curve passes: it verifies nothing.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise Malformed("public key", f"{len(public_key)} bytes, not {PUBLIC_KEY_BYTES}")
    y = int.from_bytes(public_key, "little") & 2**255 - 1
    if y >= _P:
        raise Malformed("public key", "not in canonical form")
    # Orders 1 and 2 have y = ±1, order 4 has y = 0; a point of order 8 doubles to y = 0, which this polynomial says.
    if y in (0, 1, _P - 1) or (_D * pow(y, 4, _P) + 2 * y * y - 1) % _P == 0:
        raise Malformed("public key", "a point of small order, under which anybody can sign")
