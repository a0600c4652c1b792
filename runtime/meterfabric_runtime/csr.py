"""Certificate signing requests (PKCS #10, RFC 2986): how a key asks for the certificate of one SPIFFE ID."""

from dataclasses import dataclass
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meterfabric_protocol.ed25519 import check_public_key
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import Subject, parse_spiffe

CSR_BYTES: Final = 16384

Reason = Literal["malformed", "not-admitted"]


class EnrolmentRefused(Exception):
    """A certificate that isn't given. `reason`: the request is "malformed", or asks for who is "not-admitted"."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose signature holds: its maker has the key. Whether he may be the subject isn't said."""

    subject: Subject
    public_key: Ed25519PublicKey


def make_csr(key: Ed25519PrivateKey, spiffe: str) -> bytes:
    """A request in PEM for that SPIFFE ID, signed by the key that the certificate is to be for."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe)]), critical=True)
        .sign(key, None)
        .public_bytes(Encoding.PEM)
    )


def read_csr(pem: bytes) -> Request:
    """Read a request of at most 16 KiB. Raises EnrolmentRefused("malformed")."""
    if len(pem) > CSR_BYTES:
        raise EnrolmentRefused("malformed", f"{len(pem)} bytes, the limit is {CSR_BYTES}")
    try:
        csr = x509.load_pem_x509_csr(pem)
        key = csr.public_key()
        names = [extension.value for extension in csr.extensions]
        signed = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, UserWarning, x509.InvalidVersion) as error:
        raise EnrolmentRefused("malformed", f"no certificate signing request: {error}") from error
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise EnrolmentRefused("malformed", f"its extensions can't be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey) or not signed:
        raise EnrolmentRefused("malformed", "not signed by the Ed25519 key that it is for")
    # Nothing but the name is the requester's to ask for, so anything else is refused, not passed over.
    if len(names) != 1 or not isinstance(names[0], x509.SubjectAlternativeName) or len(list(names[0])) != 1:
        raise EnrolmentRefused("malformed", "a request has one extension, a subjectAltName with one URI")
    (name,) = names[0]
    if not isinstance(name, x509.UniformResourceIdentifier):
        raise EnrolmentRefused("malformed", "the name asked for isn't a URI")
    try:
        check_public_key(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
        return Request(parse_spiffe(name.value), key)
    except Malformed as error:
        raise EnrolmentRefused("malformed", str(error)) from error
