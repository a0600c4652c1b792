"""Roots of an authority: made, written and read, chosen to issue, and what they sign. Where they are kept is another's.

The newest root that is older than the overlap issues (the first one at once): until then it is only trusted, so that
everybody knows it before anything is signed by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meterfabric_protocol.identity import Subject

BACKDATE: Final = timedelta(minutes=5)
"""How far before now a certificate begins, for clocks that are behind."""


@dataclass(frozen=True)
class Lifetimes:
    """How long certificates live. `overlap`: how long a new root is only trusted before it issues."""

    producer: timedelta = timedelta(hours=72)
    sink: timedelta = timedelta(hours=72)
    root: timedelta = timedelta(days=3650)
    overlap: timedelta = timedelta(hours=24)


@dataclass(frozen=True)
class Root:
    """One root; `key` is None once it issues no more."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey | None = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def written(self) -> bytes:
        """Certificate and, where there is one, key, PEM: what `read_root` reads."""
        if self.key is None:
            return self.pem
        return self.pem + self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def is_ripe(self, now: datetime, overlap: timedelta) -> bool:
        """Whether it has been trusted for so long that it may issue."""
        return now >= self.certificate.not_valid_before_utc + BACKDATE + overlap


def read_root(data: bytes) -> Root:
    """Read what `Root.written` wrote. Raises ValueError."""
    try:
        certificate = x509.load_pem_x509_certificate(data)
        key = load_pem_private_key(data[data.index(b"-----BEGIN PRIVATE KEY") :], None) if b"PRIVATE" in data else None
    except (ValueError, TypeError) as error:
        raise ValueError(f"is damaged: {error}") from error
    if key is not None and not isinstance(key, Ed25519PrivateKey):
        raise ValueError("has a key that isn't Ed25519")
    if key is not None and key.public_key() != certificate.public_key():
        raise ValueError("has a key that isn't its certificate's")
    return Root(certificate, key)


def make_root(number: int, trust_domain: str, now: datetime, lifetime: timedelta) -> Root:
    """A new root, the authority's `number`th."""
    key = Ed25519PrivateKey.generate()
    return Root(_self_signed(key, number, trust_domain, now, lifetime), key)


def issuing(roots: Sequence[Root], now: datetime, overlap: timedelta) -> int | None:
    """Which of the roots, oldest first, issues now; None where none has its key. It may have expired."""
    keyed = [number for number, root in enumerate(roots) if root.key is not None]
    ripe = [number for number in keyed if roots[number].is_ripe(now, overlap)]
    if not keyed:
        return None
    return ripe[-1] if ripe else keyed[0]


def sign(root: Root, subject: Subject, key: Ed25519PublicKey, now: datetime, lifetime: timedelta) -> bytes:
    """The chain, PEM, that says that `key` is the subject's. The root must have its key."""
    assert root.key is not None
    return _leaf(root.certificate, root.key, subject, key, now, lifetime).public_bytes(Encoding.PEM)


def _self_signed(
    key: Ed25519PrivateKey, number: int, trust_domain: str, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "meterfabric"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"root {number}"),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certify=True), critical=True)
        .add_extension(_uri(f"spiffe://{trust_domain}"), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )


def _leaf(
    root: x509.Certificate,
    root_key: Ed25519PrivateKey,
    subject: Subject,
    key: Ed25519PublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        # The name stands in the URI alone, so the URI is critical (RFC 5280 section 4.2.1.6).
        .subject_name(x509.Name([]))
        .issuer_name(root.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATE, root.not_valid_before_utc))
        .not_valid_after(min(now + lifetime, root.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certify=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(_uri(subject.spiffe), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, None)
    )


def _usage(*, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certify,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=certify,
        encipher_only=False,
        decipher_only=False,
    )


def _uri(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
