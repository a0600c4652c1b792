"""Certificates asked for through the API of a cluster, as CertificateSigningRequest objects (certificates.k8s.io/v1).

The pod speaks as its own service account, with a token that is bound to the pod, so the API server stamps who asks. A
request that waits is found again and not made twice: with nobody to sign for a day, a pod leaves one object, not a
thousand. One that is decided isn't reused, since what was denied may be allowed by now, and what was signed may be old.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import ssl
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Final

import aiohttp

from meterfabric_runtime.csr import EnrolmentRefused
from meterfabric_sidecar.settings import KubernetesPart

SIGNER: Final = "meterfabric.io/producer"
PATH: Final = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

_POLLS = (0.1, 5.0)
_CALL = aiohttp.ClientTimeout(total=10.0)


class ClusterAuthority:
    """Asks for certificates of the signer `meterfabric.io/producer`."""

    def __init__(self, part: KubernetesPart, namespace: str, trust: Path, scheme: str = "https") -> None:
        """``trust``: the bundle's file, which others keep."""
        self._part = part
        self._namespace = namespace
        self._trust = trust
        host = f"[{part.host}]" if ":" in part.host else part.host
        self._url = f"{scheme}://{host}:{part.port}{PATH}"
        self._suffix = "0"

    async def enrol(self, csr: bytes) -> bytes:
        """As `Authority.enrol`. Raises EnrolmentRefused, OSError where the API can't be reached or doesn't let us."""
        try:
            async with self._session() as session:
                name = await self._ask(session, csr)
                return await self._answer(session, name)
        except aiohttp.ClientError as error:
            raise OSError(f"the API server can't be asked: {error}") from error

    async def trust(self) -> bytes:
        """As `Authority.trust`. Raises OSError."""
        return await asyncio.to_thread(self._trust.read_bytes)

    def _session(self) -> aiohttp.ClientSession:
        # Read anew each time: the kubelet replaces the token long before it runs out.
        token = (self._part.folder / "token").read_text().strip()
        ca = self._part.folder / "ca.crt"
        context = ssl.create_default_context(cafile=str(ca)) if self._url.startswith("https:") else None
        connector = aiohttp.TCPConnector(limit=1, ssl=context) if context is not None else None
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        return aiohttp.ClientSession(connector=connector, headers=headers, timeout=_CALL, trust_env=False)

    async def _ask(self, session: aiohttp.ClientSession, csr: bytes) -> str:
        """Make the request, or find the one that waits already; its name."""
        while True:
            name = f"meterfabric-{self._namespace}-{hashlib.sha256(csr).hexdigest()[:24]}-{self._suffix}"
            body = {
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "metadata": {"name": name},
                "spec": {
                    "request": b64encode(csr).decode(),
                    "signerName": SIGNER,
                    "usages": ["client auth", "digital signature"],
                },
            }
            async with session.post(self._url, json=body) as response:
                if response.status in (200, 201):
                    return name
                if response.status != 409:
                    raise OSError(await _said("asking", response))
            if not _decided(await self._get(session, name)):
                return name
            self._suffix = secrets.token_hex(4)

    async def _answer(self, session: aiohttp.ClientSession, name: str) -> bytes:
        pause = _POLLS[0]
        while True:
            found = await self._get(session, name)
            status = found.get("status", {})
            if _decided(found):
                # Whatever comes of it, the next request is another one.
                self._suffix = secrets.token_hex(4)
            for condition in status.get("conditions", []):
                if condition.get("type") in ("Denied", "Failed"):
                    reason = str(condition.get("reason", condition["type"]))
                    raise EnrolmentRefused("not-admitted", f"{reason}: {condition.get('message', '')}"[:1000])
            if status.get("certificate"):
                return b64decode(status["certificate"])
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLLS[1])

    async def _get(self, session: aiohttp.ClientSession, name: str) -> dict[str, Any]:
        async with session.get(f"{self._url}/{name}") as response:
            if response.status == 404:
                # Collected meanwhile, or taken away by a person: it is asked anew.
                self._suffix = secrets.token_hex(4)
            if response.status != 200:
                raise OSError(await _said("looking after it", response))
            found = json.loads(await response.read())
        return found if isinstance(found, dict) else {}


def _decided(found: dict[str, Any]) -> bool:
    status = found.get("status", {})
    final = any(condition.get("type") in ("Denied", "Failed") for condition in status.get("conditions", []))
    return final or bool(status.get("certificate"))


async def _said(doing: str, response: aiohttp.ClientResponse) -> str:
    text = (await response.read()).decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("message", text))
    return f"{doing} for a certificate: the API server answers {response.status}: {text[:500]}"
