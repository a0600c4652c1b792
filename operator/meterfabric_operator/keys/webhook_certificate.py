"""The certificate by which the API server knows the webhook: made, followed by another in time, trusted with overlap.

A certificate is its own authority: nothing can be signed by it, and what the API server trusts is exactly what is
served. The next one is trusted for a while before it is served, and the last one for a while after, so that neither an
API server nor a replica of the webhook that lags behind makes a call fail. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meterfabric_runtime.roots import BACKDATE

SERVING: Final = "serving.pem"
"""The file of the Secret with the certificate that is served, and its key."""
_FOLLOWING: Final = "following.pem"


def overlap(lifetime: timedelta) -> timedelta:
    """How long one is trusted before it is served, and after. Replicas must look much more often than that."""
    return min(timedelta(hours=1), lifetime / 12)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM. `made`: when; it ends at `not_after`."""

    certificate: bytes
    key: bytes = field(repr=False)
    made: datetime
    not_after: datetime

    @property
    def written(self) -> bytes:
        """As a file of the Secret holds it."""
        return self.certificate + self.key


@dataclass(frozen=True)
class Kept:
    """What is to be. `files`: of the Secret. `since`: from when on its certificate is served. `bundle`: PEM."""

    files: dict[str, bytes]
    since: datetime
    bundle: bytes


def keep(
    files: Mapping[str, bytes],
    since: datetime | None,
    bundle: bytes,
    hosts: Sequence[str],
    now: datetime,
    lifetime: timedelta,
) -> Kept:
    """What follows from what there is now: the Secret's files and time, and what the API server trusts.

    The bundle must be put before the Secret: then a key in the Secret is one whose certificate is trusted already.
    What can't be read is made anew, since nothing is proved by it.
    """
    now = now.replace(microsecond=0)
    lap = overlap(lifetime)
    serving, following = read(files.get(SERVING, b"")), read(files.get(_FOLLOWING, b""))
    if serving is None or since is None or serving.not_after <= now:
        serving, since, following = make(hosts, now, lifetime), now, None
    elif following is None and serving.not_after - now < lifetime / 2:
        following = make(hosts, now, lifetime)
    elif following is not None and following.made + lap <= now and following.certificate in bundle:
        serving, since, following = following, now, None
    made = [serving, following] if following is not None else [serving]
    trusted = [each.certificate for each in made]
    if now < since + lap:
        trusted = [each for each in _living(bundle, now) if each not in trusted] + trusted
    names = (SERVING, _FOLLOWING)
    return Kept({name: each.written for name, each in zip(names, made, strict=False)}, since, b"".join(trusted))


def read(data: bytes) -> Pair | None:
    """What `Pair.written` wrote; None where that can't be read."""
    try:
        certificate = x509.load_pem_x509_certificate(data)
        start = data.index(b"-----BEGIN PRIVATE KEY")
        key = load_pem_private_key(data[start:], None)
    except (ValueError, TypeError):
        return None
    if key.public_key() != certificate.public_key():
        return None
    made = certificate.not_valid_before_utc + BACKDATE
    return Pair(certificate.public_bytes(Encoding.PEM), data[start:], made, certificate.not_valid_after_utc)


def make(hosts: Sequence[str], now: datetime, lifetime: timedelta) -> Pair:
    """A new one for these names. ECDSA on P-256, since API servers that are held to FIPS take nothing newer."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A name of its own: verifiers look for an authority by its name, and some stop at the first.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"meterfabric injector {serial:x}"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in hosts]), critical=False)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM), pem, now, certificate.not_valid_after_utc)


def _living(bundle: bytes, now: datetime) -> list[bytes]:
    try:
        found = x509.load_pem_x509_certificates(bundle) if bundle.strip() else []
    except ValueError:
        return []
    return [each.public_bytes(Encoding.PEM) for each in found if each.not_valid_after_utc > now]
