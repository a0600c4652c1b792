"""Where certificates come from: the interface, and the authority that keeps its roots in a folder.

A sidecar asks through the interface and can't tell a folder's authority from the Kubernetes API's.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from meterfabric_protocol.identity import Producer, Subject

from .csr import EnrolmentRefused, read_csr
from .files import SecretFileError, create_secret, private_folder, read_secret, write_whole
from .roots import Lifetimes, Root, issuing, make_root, read_root, sign

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
class _Kept:
    path: Path
    root: Root


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
        return b"".join(kept.root.pem for kept in self._roots)

    def issue(self, csr: bytes) -> bytes:
        """Sign a request: the chain of one certificate. Raises EnrolmentRefused, AuthorityError."""
        request = read_csr(csr)
        subject = request.subject
        if subject.trust_domain != self._trust_domain or not self._admits(subject):
            raise EnrolmentRefused("not-admitted", f"{subject.spiffe} is nobody this authority is told to admit")
        now = self._now()
        root = self._issuing(now)
        lifetime = self.lifetimes.producer if isinstance(subject, Producer) else self.lifetimes.sink
        return sign(root, subject, request.public_key, now, lifetime)

    def rotate(self) -> None:
        """Make a new root. It is in the bundle from now on and issues once the overlap is over."""
        self._add_root()

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)

    def _issuing(self, now: datetime) -> Root:
        index = issuing([kept.root for kept in self._roots], now, self.lifetimes.overlap)
        if index is None:
            raise AuthorityError(f"no root in {self.folder} has its key: rotate the authority")
        for number, old in enumerate(self._roots[:index]):
            if old.root.key is not None:
                write_whole(old.path, old.root.pem)
                self._roots[number] = _Kept(old.path, Root(old.root.certificate, None))
        kept = self._roots[index]
        if now >= kept.root.certificate.not_valid_after_utc:
            raise AuthorityError(f"{kept.path} has expired: rotate the authority")
        return kept.root

    def _add_root(self) -> None:
        number = len(self._roots) + 1
        root = make_root(number, self._trust_domain, self._now(), self.lifetimes.root)
        create_secret(self.folder / f"root-{number:04}.pem", root.written())
        # Read back: had another process been first, its root is the one that counts.
        self._roots = self._load()

    def _load(self) -> list[_Kept]:
        return [_read(self.folder / name) for name in sorted(os.listdir(self.folder)) if _ROOT.fullmatch(name)]


def _read(path: Path) -> _Kept:
    try:
        return _Kept(path, read_root(read_secret(path)))
    except ValueError as error:
        raise SecretFileError(f"{path} {error}") from error
