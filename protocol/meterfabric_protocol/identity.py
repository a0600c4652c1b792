"""Who a peer is: the certificate chain that proves its name.

Chains are judged against a bundle that keeps every past root, at a time the caller hands in: a record signed years ago
verifies at the time it was signed.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from cryptography import x509

from meterfabric_protocol.certificate import (
    CHAIN_LENGTH,
    CertificateError,
    Reason,
    Refusal,
    Window,
    authority_names,
    check_authority,
    check_leaf,
    is_issued_by,
    read_pem,
    window,
)
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.limits import DEFAULT
from meterfabric_protocol.names import (
    Origin,
    Producer,
    Sink,
    Subject,
    cosigner,
    key_hash,
    key_hash_of,
    origin,
    parse_origin,
    parse_spiffe,
    same_pod,
    short_pod,
)

__all__ = [
    "CertificateError",
    "ChainVerifier",
    "Identity",
    "Origin",
    "Producer",
    "Reason",
    "Refusal",
    "Role",
    "Sink",
    "Subject",
    "TrustBundle",
    "cosigner",
    "key_hash",
    "key_hash_of",
    "match_origin",
    "origin",
    "parse_origin",
    "parse_spiffe",
    "same_identity",
    "same_pod",
    "verify_chain",
]

Role = Literal["producer", "sink"]

BUNDLE_BYTES = 262144
BUNDLE_ROOTS = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """What a chain proves. `name` is what the key signs as: a producer's origin or a sink's cosigner name."""

    subject: Subject
    public_key: bytes
    not_before: datetime
    not_after: datetime
    name: str = field(init=False)

    def __post_init__(self) -> None:
        subject = self.subject
        if isinstance(subject, Producer):
            name = origin(subject.fabric, subject.namespace, subject.pod, self.public_key)
        else:
            name = cosigner(subject.fabric, subject.name)
        object.__setattr__(self, "name", name)

    @property
    def role(self) -> Role:
        return "producer" if isinstance(self.subject, Producer) else "sink"

    @property
    def fabric(self) -> str:
        return self.subject.fabric


def match_origin(identity: Identity, name: str) -> None:
    """Check that the origin is the very log of this producer and key.

    Raises CertificateError("wrong-role" or "wrong-origin").
    """
    if identity.role != "producer":
        raise CertificateError("wrong-role", f"{identity.name} is a sink and keeps no log")
    if identity.name != name:
        raise CertificateError(
            "wrong-origin", f"the certificate is {identity.name}'s, the log calls itself {name[:300]}"
        )


def same_identity(identity: Identity, name: str) -> bool:
    """Whether the origin is a log of the same pod, under whatever key: only then may `continues` vouch for it.

    Raises Malformed.
    """
    other = parse_origin(name)
    subject = identity.subject
    return isinstance(subject, Producer) and (subject.fabric, subject.namespace, short_pod(subject.pod)) == (
        other.fabric,
        other.namespace,
        other.pod,
    )


class TrustBundle:
    """Every root that the fabric trusts or ever did, each for its own validity.

    Raises Malformed where one isn't a root.
    """

    def __init__(self, pem: bytes) -> None:
        self.pem = pem
        try:
            certificates = read_pem(pem, "the bundle", BUNDLE_BYTES, BUNDLE_ROOTS)
            for number, root in enumerate(certificates, 1):
                check_authority(root, f"root {number}", 0)
                if not is_issued_by(root, root):
                    raise CertificateError("profile", f"root {number} isn't signed by itself")
            self.roots = tuple(dict.fromkeys(certificates))
        except CertificateError as error:
            raise Malformed("trust bundle", str(error)) from error

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of the PEM: tells whether a bundle changed."""
        return hashlib.sha256(self.pem).digest()


@dataclass(frozen=True, slots=True)
class _Chain:
    """A chain whose signatures and rules hold; only time is left to judge."""

    identity: Identity
    links: tuple[Window, ...]
    roots: tuple[Window, ...]
    not_before: datetime
    not_after: datetime

    def judge(self, at: datetime) -> None:
        if self.not_before <= at <= self.not_after:
            return
        for link in self.links:
            if at < link.not_before:
                raise CertificateError("not-yet-valid", f"{link.of} is valid from {link.not_before}, it is {at}")
            if at > link.not_after:
                raise CertificateError("expired", f"{link.of} was valid until {link.not_after}, it is {at}")
        if not any(root.not_before <= at <= root.not_after for root in self.roots):
            reason: Reason = "expired" if all(at > root.not_after for root in self.roots) else "not-yet-valid"
            raise CertificateError(reason, f"the root isn't valid at {at}")


class ChainVerifier:
    """Chains verified against one bundle, the last `capacity` of them remembered: a sink judges one with every batch.

    A hit costs a dictionary's look-up; validity is judged at each use. About 4 KiB per chain. A changed bundle needs a
    new one. Belongs to one thread.
    """

    def __init__(self, bundle: TrustBundle, capacity: int = 4096) -> None:
        self.bundle = bundle
        self._capacity = capacity
        self._chains: OrderedDict[bytes, _Chain] = OrderedDict()

    def __len__(self) -> int:
        return len(self._chains)

    def verify(self, pem: bytes, at: datetime, *, role: Role | None = None, fabric: str | None = None) -> Identity:
        """As `verify_chain`."""
        chain = self._chains.get(pem)
        if chain is None:
            chain = _read_chain(pem, self.bundle)
            self._chains[pem] = chain
            if len(self._chains) > self._capacity:
                self._chains.popitem(last=False)
        else:
            self._chains.move_to_end(pem)
        chain.judge(at)
        identity = chain.identity
        if role is not None and identity.role != role:
            raise CertificateError("wrong-role", f"{identity.subject.spiffe} is a {identity.role}'s, not a {role}'s")
        if fabric is not None and identity.fabric != fabric:
            raise CertificateError("wrong-fabric", f"{identity.subject.spiffe} isn't of fabric {fabric}")
        return identity


def verify_chain(
    pem: bytes, bundle: TrustBundle, at: datetime, *, role: Role | None = None, fabric: str | None = None
) -> Identity:
    """Verify a chain in PEM, leaf first, at the time `at` (aware), and say whose it is; `role` and `fabric` are held to
    if given.

    Raises CertificateError with its one reason. The order of checks is fixed: form, signatures from the root down,
    rules, names, time, role, fabric.
    """
    return ChainVerifier(bundle, capacity=1).verify(pem, at, role=role, fabric=fabric)


def _read_chain(pem: bytes, bundle: TrustBundle) -> _Chain:
    """Check everything but the time."""
    chain = read_pem(pem, "the chain", DEFAULT.chain_bytes, CHAIN_LENGTH)
    if len(chain) > 1 and chain[-1] in bundle.roots:
        chain.pop()
    # From the root down, so that no key is used before an authority vouched for it.
    roots = [root for root in bundle.roots if is_issued_by(chain[-1], root)]
    if not roots:
        raise CertificateError(
            "unknown-authority", f"no root of the bundle signed the chain's last certificate ({len(chain)} sent)"
        )
    for index in range(len(chain) - 1, 0, -1):
        check_authority(chain[index], f"certificate {index + 1}", index - 1)
        if not is_issued_by(chain[index - 1], chain[index]):
            raise CertificateError("unknown-authority", f"certificate {index} isn't signed by certificate {index + 1}")
    uri, public_key = check_leaf(chain[0], "the leaf")
    try:
        subject = parse_spiffe(uri)
    except Malformed as error:
        raise CertificateError("profile", str(error)) from error
    vouching = [window(root, "the root") for root in roots if _vouches(root, subject, len(chain) - 1)]
    if not vouching:
        raise CertificateError(
            "unknown-authority", f"no root that signed the chain vouches for {subject.trust_domain} at this length"
        )
    links = tuple(window(link, f"certificate {number}") for number, link in enumerate(chain, 1))
    newest = max(vouching, key=lambda root: root.not_after)
    return _Chain(
        Identity(subject, public_key, links[0].not_before, links[0].not_after),
        links,
        tuple(vouching),
        max(each.not_before for each in (*links, newest)),
        min(each.not_after for each in (*links, newest)),
    )


def _vouches(root: x509.Certificate, subject: Subject, intermediates: int) -> bool:
    """Whether a root's trust domain, if it names one, is the subject's, and its path length allows the chain."""
    try:
        check_authority(root, "the root", intermediates)
    except CertificateError:
        return False
    names = authority_names(root, "the root")
    return not names or f"spiffe://{subject.trust_domain}" in names
