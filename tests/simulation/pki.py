"""Keys and certificates: real ones, made from names alone, so that every process and every history has the same."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meterfabric_protocol.identity import ChainVerifier, Producer, Sink, TrustBundle, origin

FABRIC: Final = "metering.main"
DOMAIN: Final = "example.org"
NAMESPACE: Final = "shop"
EPOCH: Final = 1_770_000_000
"""Wall time at the beginning of every history, Unix seconds."""
LIFETIME: Final = 600
"""Seconds a producer's certificate is valid: histories are short."""
_STEP: Final = 100
_FOREVER: Final = timedelta(days=3650)


@cache
def key(name: str) -> Ed25519PrivateKey:
    """The key of this name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"simulated key " + name.encode()).digest())


@cache
def public(name: str) -> bytes:
    """The raw public key of this name."""
    return key(name).public_key().public_bytes_raw()


@cache
def origin_of(pod: str, name: str) -> str:
    """The log that the pod keeps under the key of this name."""
    return origin(FABRIC, NAMESPACE, pod, public(name))


def verifier() -> ChainVerifier:
    """Judges chains against the fabric's bundle."""
    return _verifier()


@cache
def _verifier() -> ChainVerifier:
    # One for all processes of all histories: what it remembers is only which chains are well made.
    return ChainVerifier(_bundle(), capacity=65_536)


@cache
def _bundle() -> TrustBundle:
    return TrustBundle(_root("root").public_bytes(Encoding.PEM))


def producer_chain(pod: str, name: str, wall: float) -> bytes:
    """A certificate of the pod's key issued at about that wall time."""
    issued = EPOCH + (int(wall) - EPOCH) // _STEP * _STEP
    return _producer_chain(pod, name, issued)


@cache
def _producer_chain(pod: str, name: str, issued: int) -> bytes:
    subject = Producer(DOMAIN, FABRIC, NAMESPACE, "meter", pod, "6a1f-22")
    start = datetime.fromtimestamp(issued, UTC)
    return _issue("root", key(name), subject.spiffe, start, start + timedelta(seconds=LIFETIME))


@cache
def sink_chain(sink: str, authority: str = "root") -> bytes:
    """A sink's chain; by another authority it proves nothing."""
    start = datetime.fromtimestamp(EPOCH, UTC) - timedelta(days=1)
    name = f"sink {sink}" if authority == "root" else f"false sink {sink}"
    return _issue(authority, key(name), Sink(DOMAIN, FABRIC, sink).spiffe, start, start + _FOREVER)


@cache
def _root(name: str) -> x509.Certificate:
    start = datetime.fromtimestamp(EPOCH, UTC) - timedelta(days=30)
    uri = x509.UniformResourceIdentifier(f"spiffe://{DOMAIN}")
    builder = _builder(name, name, key(name), start, start + _FOREVER, "root")
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    builder = builder.add_extension(_usage(certify=True), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    return builder.sign(key(name), None)


def _issue(authority: str, subject: Ed25519PrivateKey, uri: str, start: datetime, end: datetime) -> bytes:
    builder = _builder("leaf", authority, subject, start, end, f"{uri} {start}")
    builder = builder.add_extension(_usage(certify=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    builder = builder.add_extension(names, critical=False)
    return builder.sign(key(authority), None).public_bytes(Encoding.PEM)


def _builder(
    subject: str, issuer: str, subject_key: Ed25519PrivateKey, start: datetime, end: datetime, serial: str
) -> x509.CertificateBuilder:
    # The serial's length is fixed, because lengths decide what fits into a relay's credit.
    number = int.from_bytes(b"\x40" + hashlib.sha256(serial.encode()).digest()[:15])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(subject_key.public_key())
        .serial_number(number)
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _usage(*, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not certify, False, False, False, False, certify, certify, False, False)
