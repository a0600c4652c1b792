"""A fabric's keys as its Secrets hold them: read, made where there are none, renewed in time. No I/O.

What is there and can't be read is never replaced: a person must see it, since records are proved by it. What is gone is
made again where that takes nothing from anybody: the certificates of all roots stand in two Secrets, so that either may
be lost.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
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
from cryptography.x509 import Certificate, load_pem_x509_certificates
from cryptography.x509.oid import NameOID

from meterfabric_operator.objects import Object
from meterfabric_protocol.identity import BUNDLE_ROOTS, Sink
from meterfabric_runtime.authority import renewal_time
from meterfabric_runtime.curve import CurveKeys, from_z85, to_z85
from meterfabric_runtime.roots import Lifetimes, Root, issuing, make_root, read_root, sign

SINK_LIFETIME = timedelta(days=30)
"""Longer than a producer's: a sink that can't renew stops everybody, and its key lies in a Secret, not in a pod."""


_MEND = (
    "restore the authority's Secret from a backup; or delete it, and another root is made, while those of the history"
    " stay trusted"
)
HISTORY = "roots.pem"
"""The file of the second Secret: the certificates of all roots there ever were."""
SPARE = "spare.pem"
"""The other file there: a root with its key that issues once the authority is lost. It is in every bundle already."""
REPLACED = "meterfabric.io/replaced"
"""Annotation of an authority's Secret: when it was made in place of one that was lost. A person takes it off."""
RELAYS = "relays.curve"
"""The file of the relays' key."""


class IdentityError(Exception):
    """Keys that can't be used; the message says which and what to do."""

    reason = "KeysUnusable"


class AuthorityMissing(IdentityError):
    """There is no authority; the look at its fabric makes one, or says why not."""


class TrustLost(IdentityError):
    """Neither of the Secrets that hold the roots is there, and a bundle was published: only a person knows more."""

    reason = "TrustLost"


@dataclass(frozen=True)
class Roots:
    """A fabric's roots, oldest first, as the files of its Secret name them. `replaces`: one issues in place of lost
    ones. `spare`: the one that would be next, with its key; among the others it is without."""

    named: tuple[tuple[str, Root], ...]
    replaces: bool = False
    spare: Root | None = None

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
        return _newest([root for _, root in self.named])

    def issuing(self, now: datetime) -> Root:
        """The root that signs now. Raises IdentityError."""
        roots = [root for _, root in self.named]
        index = issuing(roots, now, Lifetimes().overlap)
        if index is None:
            raise IdentityError(f"no root has its key: {_MEND}")
        if now >= roots[index].certificate.not_valid_after_utc:
            raise IdentityError(f"{self.named[index][0]} has expired: {_MEND}")
        return roots[index]


def data_of(secret: Object | None) -> dict[str, bytes]:
    """The files of a Secret or none. Raises IdentityError."""
    try:
        return {name: b64decode(value, validate=True) for name, value in ((secret or {}).get("data") or {}).items()}
    except ValueError as error:
        raise IdentityError(f"Secret {(secret or {})['metadata']['name']}: {error}") from error


def read_roots(files: Mapping[str, bytes]) -> tuple[tuple[str, Root], ...]:
    """The roots that the authority's Secret holds, oldest first. Raises IdentityError where one can't be read."""
    found = []
    for name in sorted(name for name in files if name.startswith("root-")):
        try:
            found.append((name, read_root(files[name])))
        except ValueError as error:
            raise IdentityError(f"{name} {error}: {_MEND}") from error
    return _in_order(found)


def read_history(files: Mapping[str, bytes]) -> tuple[Certificate, ...]:
    """The certificates that the history holds. Raises IdentityError."""
    if not files.get(HISTORY, b"").strip():
        return ()
    try:
        return tuple(load_pem_x509_certificates(files[HISTORY]))
    except ValueError as error:
        problem = f"the history's {HISTORY} is damaged: {error}"
        raise IdentityError(
            f"{problem}; restore its Secret from a backup, or delete it, and it is made from the authority's"
        ) from error


def read_spare(files: Mapping[str, bytes]) -> Root | None:
    """The root that the history keeps for the authority's loss. Raises IdentityError."""
    if SPARE not in files:
        return None
    try:
        found = read_root(files[SPARE])
        return found if found.key is not None else None
    except ValueError as error:
        raise IdentityError(
            f"the history's {SPARE} {error}; restore its Secret from a backup, or delete it, and it is made anew"
        ) from error


def keep_roots(
    files: Mapping[str, bytes],
    trust_domain: str,
    now: datetime,
    *,
    past: Sequence[Certificate] = (),
    spare: Root | None = None,
    wanted: int = 1,
) -> Roots:
    """The roots that are there, and one more where there is none, half of the newest one's time has passed, or `wanted`
    are more. ``past``: the history's, which stay trusted though the authority's Secret lost them. ``spare``: the
    history's too; where the authority has no root, it issues, and another is made.

    Roots that no longer issue lose their keys. Raises IdentityError where one can't be read.
    """
    lifetimes, now = Lifetimes(), now.replace(microsecond=0)
    held = read_roots(files)
    found = [*held, *_lost(held, past)]
    if spare is not None and not held:
        found = [(name, spare if root.certificate == spare.certificate else root) for name, root in found]
    # Also the spare that became the authority a moment ago, and of which the history doesn't know that yet.
    waiting = [root for _, root in found if spare is not None and root == Root(spare.certificate, None)]
    spare = spare if waiting else None
    others = [root for _, root in found if root not in waiting]
    lacking = not others or not (held or any(root.key is not None for root in others))
    if lacking or len(others) < wanted or _newest(others) - now < lifetimes.root / 2:
        if len(found) >= BUNDLE_ROOTS:
            raise IdentityError(f"there are {len(found)} roots, and a bundle holds {BUNDLE_ROOTS}: make a new fabric")
        number = _free(found)
        found.append((_file(number), make_root(number, trust_domain, now, lifetimes.root)))
    if (spare is None or _newest([spare]) - now < lifetimes.root / 2) and len(found) < BUNDLE_ROOTS:
        number = _free(found)
        spare = make_root(number, trust_domain, now, lifetimes.root)
        found.append((_file(number), Root(spare.certificate, None)))
    found = list(_in_order(found))
    index = issuing([root for _, root in found], now, lifetimes.overlap)
    return Roots(
        tuple(
            (name, Root(root.certificate, None) if index is not None and number < index else root)
            for number, (name, root) in enumerate(found)
        ),
        replaces=bool(past) and not held,
        spare=spare,
    )


def _newest(roots: Sequence[Root]) -> datetime:
    """When the newest of those that issue runs out; of all, where none does."""
    of = [root for root in roots if root.key is not None] or roots
    return max(root.certificate.not_valid_after_utc for root in of)


def _lost(held: Sequence[tuple[str, Root]], past: Sequence[Certificate]) -> list[tuple[str, Root]]:
    """Those of the history that the authority hasn't, without keys, under the names that they had if those are free."""
    known, found = {root.certificate for _, root in held}, list(held)
    for certificate in past:
        if certificate in known:
            continue
        name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        words = str(name[0].value).split() if name else []
        number = int(words[1]) if len(words) == 2 and words[1].isdecimal() else 0
        taken = {file for file, _ in found}
        if not 0 < number < 10_000 or _file(number) in taken:
            number = _free(found)
        found.append((_file(number), Root(certificate, None)))
        known.add(certificate)
    return found[len(held) :]


def _in_order(found: Sequence[tuple[str, Root]]) -> tuple[tuple[str, Root], ...]:
    return tuple(sorted(found, key=lambda each: (each[1].certificate.not_valid_before_utc, each[0])))


def _file(number: int) -> str:
    return f"root-{number:04}.pem"


def _free(found: Sequence[tuple[str, Root]]) -> int:
    """The number of the next root."""
    numbers = [int(name[5:9]) for name, _ in found if name[5:9].isdecimal()]
    return max(numbers, default=0) + 1


def keep_relay_key(files: Mapping[str, bytes], copy: bytes | None = None) -> tuple[str, str]:
    """The relays' secret and public key, Z85. ``copy``: what the authority's Secret holds. Raises IdentityError."""
    held = files.get(RELAYS, copy)
    if held is None:
        made = CurveKeys.generate()
        return to_z85(made.secret).decode(), to_z85(made.public).decode()
    try:
        secret = from_z85(held.strip())
    except ValueError as error:
        raise IdentityError(
            f"{RELAYS}: {error}; delete the relays' Secret, and it is made again from the authority's copy"
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
