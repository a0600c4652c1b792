"""CURVE key pairs (RFC 26): made, kept, and written in the forms that ZeroMQ, ZAP and HELLO each want.

The raw form, 32 bytes, is the one that everything of ours carries; libzmq's options take Z85 (RFC 32), User-Id is
hexadecimal.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import zmq
from zmq.utils import z85

from .files import SecretFileError, create_secret, read_secret
from .zmq_options import CurveClient, CurveServer

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A key pair, raw, 32 bytes each."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        public, secret = zmq.curve_keypair()
        return cls(from_z85(public), from_z85(secret))

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The pair whose secret key is kept at `path` (Z85, mode 0600); made on first use, by one process only.

        Raises SecretFileError where the file is no such key or readable by others.
        """
        try:
            return cls._load(path)
        except FileNotFoundError:
            create_secret(path, to_z85(cls.generate().secret) + b"\n")
            return cls._load(path)

    @classmethod
    def _load(cls, path: Path) -> Self:
        try:
            secret = from_z85(read_secret(path).strip())
        except ValueError as error:
            raise SecretFileError(f"{path} holds no CURVE secret key: {error}") from None
        return cls(from_z85(zmq.curve_public(to_z85(secret))), secret)

    def server(self, domain: str = "meterfabric") -> CurveServer:
        """These keys as a server's options."""
        return CurveServer(to_z85(self.secret), domain)

    def client(self, server_public: bytes) -> CurveClient:
        """These keys as the options of a client of the server with that raw public key."""
        return CurveClient(to_z85(server_public), to_z85(self.public), to_z85(self.secret))


def to_z85(key: bytes) -> bytes:
    """Raw to Z85: 32 bytes to 40. Raises ValueError on another length."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a CURVE key has {KEY_BYTES} bytes, not {len(key)}")
    return z85.encode(key)


def from_z85(text: bytes | str) -> bytes:
    """Z85 to raw: 40 characters to 32 bytes. Raises ValueError where it isn't that."""
    encoded = text.encode() if isinstance(text, str) else text
    if len(encoded) != 40:
        raise ValueError(f"a CURVE key in Z85 has 40 characters, not {len(encoded)}")
    try:
        key = z85.decode(encoded)
    except (KeyError, OverflowError) as error:
        raise ValueError("a character that isn't Z85's") from error
    if z85.encode(key) != encoded:
        raise ValueError("not Z85 as it would be written")
    return key


def to_user_id(public: bytes) -> str:
    """A client's key as the ZAP handler puts it into User-Id: lower-case hexadecimal."""
    return public.hex()


def from_user_id(user_id: str) -> bytes:
    """The client's raw key in a User-Id. Raises ValueError."""
    key = bytes.fromhex(user_id)
    if len(key) != KEY_BYTES or key.hex() != user_id:
        raise ValueError("not the User-Id of a CURVE client")
    return key
