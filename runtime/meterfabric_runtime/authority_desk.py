"""How processes on one machine reach the authority in a folder: a request is a file, the answer another.

This is the shape of the Kubernetes API (an object is made, somebody signs it), needs no port, no name longer than a
socket's may be, and survives either side being killed. The folder is closed to other users, and whoever could write to
it could read the root's key as well.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

import msgspec

from .authority import AuthorityError, LocalAuthority
from .csr import CSR_BYTES, EnrolmentRefused, Reason
from .files import private_folder, write_whole

PER_PASS: Final = 256
"""Requests answered in one pass."""
KEPT: Final = timedelta(minutes=10)
"""How long an answer lies there when nobody fetches it."""

_log = logging.getLogger(__name__)
_REQUEST = re.compile(r"([0-9a-f]{64})\.csr")


class _Answer(msgspec.Struct, omit_defaults=True):
    chain: str = ""
    refused: str = ""
    detail: str = ""


_DECODER: Final = msgspec.json.Decoder(_Answer)


class Desk:
    """The authority's side: answers what lies in `requests`, and keeps `trust.pem` as the bundle is."""

    def __init__(self, authority: LocalAuthority) -> None:
        self._authority = authority
        self._requests = private_folder(authority.folder / "requests")
        self._answers = private_folder(authority.folder / "answers")
        self._published = b""
        self.publish()

    async def serve(self, every: float = 0.1) -> None:
        """Look every so many seconds, until cancelled."""
        while True:
            await asyncio.to_thread(self.answer)
            await asyncio.sleep(every)

    def answer(self) -> int:
        """Answer the requests that lie there; say how many."""
        self.publish()
        self._sweep()
        names = [name for name in os.listdir(self._requests) if _REQUEST.fullmatch(name)][:PER_PASS]
        for name in names:
            request = self._requests / name
            try:
                write_whole(_answer_to(request), msgspec.json.encode(self._judge(request)))
                request.unlink()
            except FileNotFoundError:
                pass  # whoever asked gave up
            except (AuthorityError, OSError) as error:
                _log.warning("a certificate request waits", extra={"request": name, "error": str(error)})
        return len(names)

    def publish(self) -> None:
        """Write the bundle to `trust.pem` where it changed."""
        bundle = self._authority.bundle()
        if bundle != self._published:
            write_whole(self._authority.folder / "trust.pem", bundle, 0o644)
            self._published = bundle

    def _judge(self, request: Path) -> _Answer:
        with open(os.open(request, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
            csr = stream.read(CSR_BYTES + 1)
        try:
            return _Answer(chain=self._authority.issue(csr).decode())
        except EnrolmentRefused as error:
            return _Answer(refused=error.reason, detail=error.detail)

    def _sweep(self) -> None:
        now = time.time()
        for entry in os.scandir(self._answers):
            with contextlib.suppress(FileNotFoundError):
                if now - entry.stat(follow_symlinks=False).st_mtime > KEPT.total_seconds():
                    os.unlink(entry.path)


class LocalAuthorityClient:
    """The asking side, for the authority whose `Desk` serves `folder`. `every`: seconds between two looks."""

    def __init__(self, folder: Path, *, every: float = 0.05) -> None:
        self._folder = folder
        self._every = every

    async def enrol(self, csr: bytes) -> bytes:
        """As `Authority.enrol`: waits until it is answered; cancelled, it takes the request back.

        Raises EnrolmentRefused, and FileNotFoundError where no desk ever was.
        """
        request = self._folder / "requests" / f"{hashlib.sha256(csr).hexdigest()}.csr"
        _answer_to(request).unlink(missing_ok=True)
        await asyncio.to_thread(write_whole, request, csr)
        try:
            while (answer := self._fetch(request)) is None:
                await asyncio.sleep(self._every)
        finally:
            request.unlink(missing_ok=True)
        if answer.refused:
            raise EnrolmentRefused(cast(Reason, answer.refused), answer.detail)
        return answer.chain.encode()

    async def trust(self) -> bytes:
        """As `Authority.trust`. Raises FileNotFoundError where no desk ever was."""
        return await asyncio.to_thread((self._folder / "trust.pem").read_bytes)

    def _fetch(self, request: Path) -> _Answer | None:
        path = _answer_to(request)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        path.unlink(missing_ok=True)
        return _DECODER.decode(data)


def _answer_to(request: Path) -> Path:
    return request.parent.parent / "answers" / f"{request.stem}.json"
