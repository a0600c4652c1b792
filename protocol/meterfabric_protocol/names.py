"""The names of logs and sinks, as they stand in notes, and the SPIFFE IDs that certificates hold.

A log's name holds a hash of its key, so a name is never used twice and a certificate either matches it or doesn't.
"""

import hashlib
import re
from base64 import b32encode
from dataclasses import dataclass

from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.limits import ORIGIN_BYTES

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_RULES = {  # the pattern and the longest length of each part of a name
    "trust domain": (re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"), 255),
    "fabric": (re.compile(rf"{_LABEL}(?:\.{_LABEL})+"), 63),
    "namespace": (re.compile(_LABEL), 63),
    "service account": (re.compile(rf"{_LABEL}(?:\.{_LABEL})*"), 253),
    "pod": (re.compile(rf"{_LABEL}(?:\.{_LABEL})*"), 253),
    "uid": (re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"), 63),
    "sink": (re.compile(_LABEL), 63),
}
_POD_IN_ORIGIN = 100
_ORIGIN = re.compile(rf"({_LABEL}(?:\.{_LABEL})+)/({_LABEL})/([a-z0-9](?:[-.~a-z0-9]*[a-z0-9])?)/([a-z2-7]{{26}})")


@dataclass(frozen=True, slots=True)
class Origin:
    """A log's name taken apart. `pod` is as it stands in the name, so a long one is shortened."""

    fabric: str
    namespace: str
    pod: str
    key_hash: str


@dataclass(frozen=True, slots=True)
class Producer:
    """A pod that meters. Raises Malformed where a part isn't what Kubernetes would allow, or is too long."""

    trust_domain: str
    fabric: str
    namespace: str
    service_account: str
    pod: str
    uid: str

    def __post_init__(self) -> None:
        _check("trust domain", self.trust_domain)
        _check("fabric", self.fabric)
        _check("namespace", self.namespace)
        _check("service account", self.service_account)
        _check("pod", self.pod)
        _check("uid", self.uid)

    @property
    def spiffe(self) -> str:
        """The SPIFFE ID (SPIFFE-ID section 2)."""
        return (
            f"spiffe://{self.trust_domain}/fabric/{self.fabric}/ns/{self.namespace}"
            f"/sa/{self.service_account}/pod/{self.pod}/uid/{self.uid}"
        )


@dataclass(frozen=True, slots=True)
class Sink:
    """A sink of a fabric: all its workers share the name. Raises Malformed as `Producer` does."""

    trust_domain: str
    fabric: str
    name: str

    def __post_init__(self) -> None:
        _check("trust domain", self.trust_domain)
        _check("fabric", self.fabric)
        _check("sink", self.name)

    @property
    def spiffe(self) -> str:
        """The SPIFFE ID (SPIFFE-ID section 2)."""
        return f"spiffe://{self.trust_domain}/fabric/{self.fabric}/sink/{self.name}"


Subject = Producer | Sink


def key_hash(public_key: bytes) -> str:
    """The last part of an origin: the first half of the raw key's SHA-256 in lower-case base32, 26 characters.

    RFC 4648 section 6, without padding.
    """
    return _hash(public_key)


def origin(fabric: str, namespace: str, pod: str, public_key: bytes) -> str:
    """The name of the log that the pod keeps under that raw key: `fabric/namespace/pod/keyhash`, at most 255 bytes.

    A pod's name longer than 100 characters is cut, and a hash of the whole joined on by `~`, which no pod's name can
    hold: two pods never share a name. Raises Malformed on a part that isn't one.
    """
    _check("fabric", fabric)
    _check("namespace", namespace)
    _check("pod", pod)
    return f"{fabric}/{namespace}/{short_pod(pod)}/{key_hash(public_key)}"


def parse_origin(name: str) -> Origin:
    """Take an origin apart. Raises Malformed."""
    found = _ORIGIN.fullmatch(name) if len(name) <= ORIGIN_BYTES else None
    if found is None:
        raise Malformed("origin", f"not fabric/namespace/pod/keyhash in at most {ORIGIN_BYTES} bytes: {name[:300]!r}")
    fabric, namespace, pod, hashed = found.groups()
    return Origin(fabric, namespace, pod, hashed)


def same_pod(one: str, other: str) -> bool:
    """Whether two origins are logs of one pod. Raises Malformed."""
    a, b = parse_origin(one), parse_origin(other)
    return (a.fabric, a.namespace, a.pod) == (b.fabric, b.namespace, b.pod)


def key_hash_of(name: str) -> str:
    """The key's hash in an origin. Raises Malformed."""
    return parse_origin(name).key_hash


def cosigner(fabric: str, sink: str) -> str:
    """The name under which a sink cosigns: three parts, so it is never an origin. Raises Malformed."""
    _check("fabric", fabric)
    _check("sink", sink)
    return f"{fabric}/sink/{sink}"


def parse_spiffe(uri: str) -> Subject:
    """Read one of our two kinds of SPIFFE ID. Raises Malformed."""
    match uri.split("/"):
        case ["spiffe:", "", domain, "fabric", fabric, "ns", namespace, "sa", account, "pod", pod, "uid", uid]:
            return Producer(domain, fabric, namespace, account, pod, uid)
        case ["spiffe:", "", domain, "fabric", fabric, "sink", name]:
            return Sink(domain, fabric, name)
    raise Malformed("SPIFFE ID", f"neither a producer's nor a sink's: {uri[:300]!r}")


def short_pod(pod: str) -> str:
    """The pod's name as it stands in an origin."""
    if len(pod) <= _POD_IN_ORIGIN:
        return pod
    return f"{pod[: _POD_IN_ORIGIN - 27]}~{_hash(pod.encode())}"


def _hash(data: bytes) -> str:
    return b32encode(hashlib.sha256(data).digest()[:16]).decode().rstrip("=").lower()


def _check(part: str, value: str) -> None:
    pattern, limit = _RULES[part]
    if len(value) > limit:
        raise Malformed(part, f"{len(value)} characters, the limit is {limit}: {value[:300]!r}")
    if pattern.fullmatch(value) is None:
        raise Malformed(part, f"not a valid name: {value!r}")
