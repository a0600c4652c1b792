"""A fabric's keys as its Secrets hold them: read, made where there are none, renewed in time. No I/O.

What is there and can't be read is never replaced: a person must see it, since records are proved by it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificates

from meterfabric_operator.objects import Object
from meterfabric_protocol.identity import Sink
from meterfabric_runtime.authority import renewal_time
from meterfabric_runtime.curve import CurveKeys, from_z85, to_z85
from meterfabric_runtime.roots import Lifetimes, Root, issuing, make_root, read_root, sign

SINK_LIFETIME = timedelta(days=30)
"""Longer than a producer's: a sink that can't renew stops everybody, and its key lies in a Secret, not in a pod."""


class IdentityError(Exception):
    """Keys that can't be used; the message says which and what to do."""


@dataclass(frozen=True)
class Roots:
    """A fabric's roots, oldest first, as the files of its Secret name them."""

    named: tuple[tuple[str, Root], ...]

    @property
    def bundle(self) -> str:
        """All certificates, PEM, oldest first."""
        return b"".join(root.pem for _, root in self.named).decode()

    @property
    def files(self) -> dict[str, bytes]:
        """What the Secret is to hold."""
        return {name: root.written() for name, root in self.named}

    @property
    def not_after(self) -> datetime:
        """When the newest runs out."""
        return self.named[-1][1].certificate.not_valid_after_utc

    def issuing(self, now: datetime) -> Root:
        """The root that signs now. Raises IdentityError."""
        roots = [root for _, root in self.named]
        index = issuing(roots, now, Lifetimes().overlap)
        if index is None:
            raise IdentityError("no root has its key: restore the authority's Secret from a backup")
        if now >= roots[index].certificate.not_valid_after_utc:
            raise IdentityError(f"{self.named[index][0]} has expired: delete it, and another root is made")
        return roots[index]


def data_of(secret: Object | None) -> dict[str, bytes]:
    """The files of a Secret or none. Raises IdentityError."""
    try:
        return {name: b64decode(value, validate=True) for name, value in ((secret or {}).get("data") or {}).items()}
    except ValueError as error:
        raise IdentityError(f"Secret {(secret or {})['metadata']['name']}: {error}") from error


def keep_roots(files: Mapping[str, bytes], trust_domain: str, now: datetime, rotate: bool = False) -> Roots:
    """The roots that are there, and one more where there is none, half of the newest one's time has passed, or asked.

    Roots that no longer issue lose their keys. Raises IdentityError where one can't be read.
    """
    lifetimes, now = Lifetimes(), now.replace(microsecond=0)
    found: list[tuple[str, Root]] = []
    for name in sorted(name for name in files if name.startswith("root-")):
        try:
            found.append((name, read_root(files[name])))
        except ValueError as error:
            raise IdentityError(f"{name} {error}: restore the authority's Secret from a backup") from error
    newest = found[-1][1].certificate.not_valid_after_utc if found else now
    if rotate or newest - now < lifetimes.root / 2:
        number = len(found) + 1
        found.append((f"root-{number:04}.pem", make_root(number, trust_domain, now, lifetimes.root)))
    index = issuing([root for _, root in found], now, lifetimes.overlap)
    return Roots(
        tuple(
            (name, Root(root.certificate, None) if index is not None and number < index else root)
            for number, (name, root) in enumerate(found)
        )
    )


def keep_relay_key(files: Mapping[str, bytes]) -> tuple[str, str]:
    """The relays' secret and public key, Z85. Raises IdentityError."""
    held = files.get("relays.curve")
    if held is None:
        made = CurveKeys.generate()
        return to_z85(made.secret).decode(), to_z85(made.public).decode()
    try:
        secret = from_z85(held.strip())
    except ValueError as error:
        raise IdentityError(
            f"relays.curve: {error}; delete the relays' Secret, and pods that meter after it"
        ) from error
    return to_z85(secret).decode(), zmq.curve_public(to_z85(secret)).decode()


@dataclass(frozen=True)
class SinkIdentity:
    """A sink's key and chain, PEM."""

    key: str = field(repr=False)
    chain: str
    not_after: datetime


def keep_sink(files: Mapping[str, bytes], subject: Sink, roots: Roots, now: datetime) -> SinkIdentity:
    """The sink's key, and its chain renewed where a third of its time has passed. Raises IdentityError."""
    key = _key(files.get("key.pem"))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    chain = files.get("chain.pem", b"")
    if not _is_fresh(chain, key, now):
        root = roots.issuing(now)
        chain = sign(root, subject, key.public_key(), now.replace(microsecond=0), SINK_LIFETIME)
    return SinkIdentity(pem, chain.decode(), load_pem_x509_certificates(chain)[0].not_valid_after_utc)


def _key(pem: bytes | None) -> Ed25519PrivateKey:
    if pem is None:
        return Ed25519PrivateKey.generate()
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise IdentityError(f"the sink's key.pem is damaged: {error}; restore its Secret from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError("the sink's key.pem isn't Ed25519; put an Ed25519 key into its Secret, or delete it")
    return key


def _is_fresh(chain: bytes, key: Ed25519PrivateKey, now: datetime) -> bool:
    try:
        leaf = load_pem_x509_certificates(chain)[0]
    except ValueError:
        return False
    if leaf.public_key() != key.public_key():
        return False
    return now < renewal_time(leaf.not_valid_before_utc, leaf.not_valid_after_utc)
