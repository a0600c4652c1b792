"""The folder of the producer's key, in memory-backed storage: the key never leaves it, and dies with the pod.

Beside the key lies the *head*: the size and root that the key signed last. A spool that is behind its head lost
something (power, a rollback), and a key that went on from there would sign two roots for one size.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

KEY_FILE: Final = "producer.key"
HEAD_FILE: Final = "head.json"


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a log's key signed last."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """What a key folder holds; `head` is None where it is missing or unreadable."""

    key: Ed25519PrivateKey
    head: Head | None

    @property
    def public_key(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self.key.public_key().public_bytes_raw()


class KeyFolder:
    """Key and head in one folder, files 0600 and the folder 0700. Methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._head = folder / HEAD_FILE
        self._temporary = folder / (HEAD_FILE + ".new")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> Held | None:
        """What the folder holds; None where there is no key, or none that can be read."""
        try:
            key = load_pem_private_key((self._folder / KEY_FILE).read_bytes(), None)
        except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
            return None
        return Held(key, self.head()) if isinstance(key, Ed25519PrivateKey) else None

    def head(self) -> Head | None:
        """The head alone, which may outlive its key; None where it is missing or unreadable."""
        try:
            return msgspec.json.decode(self._head.read_bytes(), type=Head)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def discard(self) -> None:
        """Throw key and head away, for good."""
        (self._folder / KEY_FILE).unlink(missing_ok=True)
        self._head.unlink(missing_ok=True)

    def make(self) -> Ed25519PrivateKey:
        """Throw away what is there and make a new key."""
        self.discard()
        key = Ed25519PrivateKey.generate()
        path = self._folder / (KEY_FILE + ".new")
        path.unlink(missing_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as out:
            out.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.rename(self._folder / KEY_FILE)
        return key

    def write_head(self, head: Head) -> None:
        """Put the head in the place of the one before, in one step."""
        file = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, msgspec.json.encode(head))
        finally:
            os.close(file)
        self._temporary.rename(self._head)
