"""Certificates of every kind a test may want, right and wrong: the real authority refuses to make most of these."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TRUST_DOMAIN = "example.org"
FABRIC = "metering.main"
PRODUCER = f"spiffe://{TRUST_DOMAIN}/fabric/{FABRIC}/ns/shop/sa/web/pod/web-0/uid/6a1f-22"
SINK = f"spiffe://{TRUST_DOMAIN}/fabric/{FABRIC}/sink/billing"


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_usage(*, sign: bool = False, certify: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, False, certify, certify, False, False)


@dataclass
class Authority:
    """A certificate authority with no scruples. The root is valid for a year around NOW unless told otherwise."""

    name: str = "root"
    names: Sequence[str] = (f"spiffe://{TRUST_DOMAIN}",)
    key: CertificateIssuerPrivateKeyTypes = field(default_factory=Ed25519PrivateKey.generate)
    not_before: datetime = NOW - 180 * DAY
    not_after: datetime = NOW + 180 * DAY
    path_length: int | None = None
    ca: bool = True
    certify: bool = True
    parent: "Authority | None" = None
    extra: Sequence[tuple[x509.ExtensionType, bool]] = ()

    def __post_init__(self) -> None:
        parent = self.parent or self
        builder = (
            _builder(self.name, parent.name, self.key.public_key(), self.not_before, self.not_after)
            .add_extension(x509.BasicConstraints(self.ca, self.path_length if self.ca else None), critical=True)
            .add_extension(key_usage(sign=not self.certify, certify=self.certify), critical=True)
        )
        if self.names:
            builder = builder.add_extension(_uris(self.names), critical=False)
        for extension, critical in self.extra:
            builder = builder.add_extension(extension, critical)
        self.certificate = builder.sign(parent.key, _hash(parent.key))

    @property
    def pem(self) -> bytes:
        return pem(self.certificate)

    def issue(
        self,
        key: CertificatePublicKeyTypes | Ed25519PrivateKey,
        *uris: str,
        not_before: datetime = NOW - DAY,
        not_after: datetime = NOW + DAY,
        usage: x509.KeyUsage | None = None,
        purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        names: x509.SubjectAlternativeName | None = None,
        extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> x509.Certificate:
        public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
        builder = _builder("leaf", self.name, public, not_before, not_after).add_extension(
            usage or key_usage(sign=True), critical=True
        )
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if names is not None or uris:
            builder = builder.add_extension(names or _uris(uris), critical=False)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, _hash(self.key))

    def chain(self, key: Ed25519PrivateKey, uri: str = PRODUCER, not_before: datetime = NOW - DAY) -> bytes:
        """A chain of one certificate that is valid for two days."""
        return pem(self.issue(key, uri, not_before=not_before, not_after=not_before + 2 * DAY))


def _uris(uris: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def _builder(
    subject: str, issuer: str, key: CertificatePublicKeyTypes, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _hash(key: CertificateIssuerPrivateKeyTypes) -> SHA256 | None:
    return None if isinstance(key, Ed25519PrivateKey) else SHA256()
