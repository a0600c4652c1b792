"""X.509 as the fabric allows it: one strict profile, checked certificate by certificate.

cryptography's own path verifier follows the Web PKI, which forbids Ed25519 keys, so the few rules that a private
authority needs are written out here (RFC 5280 section 6.1, less policies, name constraints and revocation: certificates
live for days instead). Nothing here knows about SPIFFE names or the time: `identity` does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from meterfabric_protocol.ed25519 import check_public_key
from meterfabric_protocol.errors import Malformed, ProtocolError

CHAIN_LENGTH = 4
"""Most certificates in a chain: the leaf, intermediates, and the root if the peer sends it."""

_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}
_CLIENT = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
_HASHES = {"sha256", "sha384", "sha512"}

Reason = Literal[
    "malformed",  # not a chain of X.509 certificates within the bounds
    "profile",  # well-formed, but breaks a rule: key type, key usage, path length, names
    "unknown-authority",  # no root of the bundle signed it, for its trust domain
    "expired",
    "not-yet-valid",
    "wrong-role",
    "wrong-fabric",
    "wrong-origin",
]

Extension = TypeVar("Extension", bound=x509.ExtensionType)


class Refusal(ProtocolError):
    """A peer that isn't let in. `reason` is one fixed word, fit for a metric's label; `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class CertificateError(Refusal):
    """A chain that proves no identity, or not the one that is wanted; `reason` is one of `Reason`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)


@dataclass(frozen=True, slots=True)
class Window:
    """The validity of one certificate, both ends included (RFC 5280 section 4.1.2.5)."""

    of: str
    not_before: datetime
    not_after: datetime


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn whatever cryptography raises on odd bytes into CertificateError("malformed").

    It parses lazily, so every access is wrapped.
    """
    try:
        yield
    except (
        ValueError,
        TypeError,
        OverflowError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        UserWarning,  # cryptography's, where the process turns warnings into errors
    ) as error:
        raise CertificateError("malformed", f"{what}: {error}") from error


def read_pem(pem: bytes, what: str, max_bytes: int, max_count: int) -> list[x509.Certificate]:
    """Parse 1…`max_count` certificates from at most `max_bytes` of PEM (RFC 7468), in their order.

    Raises CertificateError("malformed").
    """
    if len(pem) > max_bytes:
        raise CertificateError("malformed", f"{what} is {len(pem)} bytes long, the limit is {max_bytes}")
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise CertificateError("malformed", f"{what} holds no certificate in PEM")
    with parsing(what):
        certificates = x509.load_pem_x509_certificates(pem)
    if any(certificate.serial_number <= 0 for certificate in certificates):
        raise CertificateError("malformed", f"{what} has a serial number below 1 (RFC 5280 section 4.1.2.2)")
    if len(certificates) > max_count:
        raise CertificateError("malformed", f"{what} has {len(certificates)} certificates, the limit is {max_count}")
    return certificates


def window(certificate: x509.Certificate, of: str) -> Window:
    with parsing(of):
        return Window(of, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `certificate` names `issuer` and its key signed it, with an algorithm still thought safe."""
    with parsing("certificate"):
        if certificate.issuer != issuer.subject:
            return False
        algorithm = certificate.signature_hash_algorithm
        if algorithm is not None and algorithm.name not in _HASHES:
            return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def check_authority(certificate: x509.Certificate, of: str, intermediates_below: int) -> None:
    """Check that `certificate` may sign certificates, with that many other authorities between it and the leaf.

    Raises CertificateError("malformed" or "profile").
    """
    with parsing(of):
        extensions = _extensions(certificate, of)
        constraints = _get(extensions, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise CertificateError("profile", f"{of} isn't an authority (basicConstraints)")
        if constraints.path_length is not None and constraints.path_length < intermediates_below:
            raise CertificateError(
                "profile",
                f"{of} allows {constraints.path_length} authorities below it, the chain has {intermediates_below}",
            )
        usage = _get(extensions, x509.KeyUsage)
        if usage is None or not usage.key_cert_sign:
            raise CertificateError("profile", f"{of} may not sign certificates (keyUsage)")
        purposes = _get(extensions, x509.ExtendedKeyUsage)
        if purposes is not None and _CLIENT.isdisjoint(purposes):
            raise CertificateError("profile", f"{of} isn't for client authentication (extendedKeyUsage)")
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
            raise CertificateError("profile", f"{of} has an RSA key of {key.key_size} bits, at least 2048 are needed")
        if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise CertificateError("profile", f"{of} has a key that is neither Ed25519, ECDSA nor RSA")


def check_leaf(certificate: x509.Certificate, of: str) -> tuple[str, bytes]:
    """Check that `certificate` is an end entity's that may sign, and return its one URI name and its raw Ed25519 key
    (32 bytes).

    Raises CertificateError("malformed" or "profile").
    """
    with parsing(of):
        extensions = _extensions(certificate, of)
        constraints = _get(extensions, x509.BasicConstraints)
        if constraints is not None and constraints.ca:
            raise CertificateError("profile", f"{of} is an authority's (basicConstraints)")
        usage = _get(extensions, x509.KeyUsage)
        if usage is None or not usage.digital_signature or usage.key_cert_sign:
            raise CertificateError(
                "profile", f"{of} must be for digital signatures, and not for certificates (keyUsage)"
            )
        purposes = _get(extensions, x509.ExtendedKeyUsage)
        if purposes is None or ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            raise CertificateError("profile", f"{of} isn't for client authentication (extendedKeyUsage)")
        names = uri_names(extensions)
        if len(names) != 1:
            raise CertificateError("profile", f"{of} must have one name, a URI; it has {len(names)} (subjectAltName)")
        key = certificate.public_key()
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise CertificateError("profile", f"{of} has a key that isn't Ed25519")
        public_key = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    try:
        check_public_key(public_key)
    except Malformed as error:
        raise CertificateError("profile", f"{of}: {error}") from error
    return names[0], public_key


def authority_names(certificate: x509.Certificate, of: str) -> list[str]:
    """The URI names of an authority, which may have none (SPIFFE X509-SVID section 3.1 allows it a trust domain's)."""
    with parsing(of):
        return uri_names(_extensions(certificate, of))


def uri_names(extensions: x509.Extensions) -> list[str]:
    """All alternative names, of which each must be a URI. Raises CertificateError("profile")."""
    names = _get(extensions, x509.SubjectAlternativeName)
    uris: list[str] = []
    for name in names if names is not None else ():
        if not isinstance(name, x509.UniformResourceIdentifier):
            raise CertificateError("profile", "an alternative name isn't a URI (subjectAltName)")
        uris.append(name.value)
    return uris


def _extensions(certificate: x509.Certificate, of: str) -> x509.Extensions:
    extensions = certificate.extensions
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise CertificateError(
                "profile", f"{of} has a critical extension that is unknown here: {extension.oid.dotted_string}"
            )
    return extensions


def _get(extensions: x509.Extensions, kind: type[Extension]) -> Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
