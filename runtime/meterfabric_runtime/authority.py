"""Where certificates come from: the interface, and the authority that keeps its roots in a folder.

A sidecar asks through the interface and can't tell a folder's authority from the Kubernetes API's.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meterfabric_protocol.identity import Producer, Subject

from .csr import EnrolmentRefused, read_csr
from .files import SecretFileError, create_secret, private_folder, read_secret, write_whole

BACKDATE: Final = timedelta(minutes=5)
"""How far before now a certificate begins, for clocks that are behind."""

_ROOT = re.compile(r"root-([0-9]{4})\.pem")


class AuthorityError(Exception):
    """An authority that can't issue to anybody just now; the message says what to do."""


class Authority(Protocol):
    """Who gives out certificates."""

    async def enrol(self, csr: bytes) -> bytes:
        """The chain, PEM, leaf first, for a request (`csr.make_csr`). Takes its time. Raises EnrolmentRefused."""

    async def trust(self) -> bytes:
        """The bundle of all roots past and present, PEM, for `TrustBundle`."""


def renewal_time(not_before: datetime, not_after: datetime) -> datetime:
    """When to ask for the next certificate: a third of this one's time in, so that two thirds are left to succeed."""
    return not_before + (not_after - not_before) / 3


@dataclass(frozen=True)
class Lifetimes:
    """How long certificates live. `overlap`: how long a new root is only trusted before it issues."""

    producer: timedelta = timedelta(hours=72)
    sink: timedelta = timedelta(hours=72)
    root: timedelta = timedelta(days=3650)
    overlap: timedelta = timedelta(hours=24)


@dataclass(frozen=True)
class _Root:
    path: Path
    certificate: x509.Certificate
    key: Ed25519PrivateKey | None

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


class LocalAuthority:
    """An authority in a folder, for one process: `root-NNNN.pem` holds a root and, while it issues, its key.

    Nothing but these files is kept. The newest root that is older than the overlap issues (the first one at once), and
    the keys of those before it are then removed; their certificates stay in the bundle for good, so that old records
    verify.

    `admits` says to whom certificates are given; `clock` gives the time, aware. Raises SecretFileError where a root's
    file is damaged or readable by others.
    """

    def __init__(
        self,
        folder: Path,
        *,
        trust_domain: str,
        admits: Callable[[Subject], bool],
        clock: Callable[[], datetime],
        lifetimes: Lifetimes | None = None,
    ) -> None:
        self.folder = private_folder(folder)
        self.lifetimes = lifetimes or Lifetimes()
        self._trust_domain = trust_domain
        self._admits = admits
        self._clock = clock
        self._roots = self._load()
        if not self._roots:
            self._add_root()

    async def enrol(self, csr: bytes) -> bytes:
        return self.issue(csr)

    async def trust(self) -> bytes:
        return self.bundle()

    def bundle(self) -> bytes:
        """All roots, oldest first, PEM."""
        return b"".join(root.pem for root in self._roots)

    def issue(self, csr: bytes) -> bytes:
        """Sign a request: the chain of one certificate. Raises EnrolmentRefused, AuthorityError."""
        request = read_csr(csr)
        subject = request.subject
        if subject.trust_domain != self._trust_domain or not self._admits(subject):
            raise EnrolmentRefused("not-admitted", f"{subject.spiffe} is nobody this authority is told to admit")
        now = self._now()
        root, key = self._issuing(now)
        lifetime = self.lifetimes.producer if isinstance(subject, Producer) else self.lifetimes.sink
        return _leaf(root.certificate, key, subject, request.public_key, now, lifetime).public_bytes(Encoding.PEM)

    def rotate(self) -> None:
        """Make a new root. It is in the bundle from now on and issues once the overlap is over."""
        self._add_root()

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)

    def _issuing(self, now: datetime) -> tuple[_Root, Ed25519PrivateKey]:
        keyed = [number for number, root in enumerate(self._roots) if root.key is not None]
        ripe = [number for number in keyed if self._is_ripe(self._roots[number], now)]
        if not keyed:
            raise AuthorityError(f"no root in {self.folder} has its key: rotate the authority")
        index = ripe[-1] if ripe else keyed[0]
        for number, old in enumerate(self._roots[:index]):
            if old.key is not None:
                write_whole(old.path, old.pem)
                self._roots[number] = _Root(old.path, old.certificate, None)
        root = self._roots[index]
        if now >= root.certificate.not_valid_after_utc:
            raise AuthorityError(f"{root.path} has expired: rotate the authority")
        assert root.key is not None
        return root, root.key

    def _is_ripe(self, root: _Root, now: datetime) -> bool:
        return now >= root.certificate.not_valid_before_utc + BACKDATE + self.lifetimes.overlap

    def _add_root(self) -> None:
        number = len(self._roots) + 1
        key = Ed25519PrivateKey.generate()
        certificate = _root(key, number, self._trust_domain, self._now(), self.lifetimes.root)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        create_secret(self.folder / f"root-{number:04}.pem", certificate.public_bytes(Encoding.PEM) + secret)
        # Read back: had another process been first, its root is the one that counts.
        self._roots = self._load()

    def _load(self) -> list[_Root]:
        return [_read_root(self.folder / name) for name in sorted(os.listdir(self.folder)) if _ROOT.fullmatch(name)]


def _read_root(path: Path) -> _Root:
    data = read_secret(path)
    try:
        certificate = x509.load_pem_x509_certificate(data)
        key = load_pem_private_key(data[data.index(b"-----BEGIN PRIVATE KEY") :], None) if b"PRIVATE" in data else None
    except (ValueError, TypeError) as error:
        raise SecretFileError(f"{path} is damaged: {error}") from error
    if key is not None and not isinstance(key, Ed25519PrivateKey):
        raise SecretFileError(f"{path} has a key that isn't Ed25519")
    if key is not None and key.public_key() != certificate.public_key():
        raise SecretFileError(f"{path} has a key that isn't its certificate's")
    return _Root(path, certificate, key)


def _root(
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
