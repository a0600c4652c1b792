"""Certificates through the API of a cluster: one request while it waits, another once it is decided."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from meterfabric_runtime.csr import EnrolmentRefused
from meterfabric_runtime.web import WebBounds, serve
from meterfabric_sidecar.cluster_authority import PATH, SIGNER, ClusterAuthority
from meterfabric_sidecar.settings import KubernetesPart

CSR = b"a request"
CHAIN = b"a chain"


class Server:
    """The part of an API server that keeps CertificateSigningRequests."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.tokens: list[str] = []
        self.made = asyncio.Event()
        self.forbidden = False
        self.port = 0
        self.looked = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post(PATH, self._post)
        app.router.add_get(PATH + "/{name}", self._get)
        return app

    async def _post(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers["Authorization"])
        if self.forbidden:
            return web.json_response({"message": "users may not"}, status=403)
        body = await request.json()
        name = body["metadata"]["name"]
        if name in self.held:
            return web.json_response({"message": "already exists"}, status=409)
        self.held[name] = {**body, "status": {}}
        self.made.set()
        return web.json_response(self.held[name], status=201)

    async def _get(self, request: web.Request) -> web.Response:
        self.looked += 1
        found = self.held.get(request.match_info["name"])
        return web.json_response(found) if found else web.json_response({"message": "not found"}, status=404)

    def sign(self) -> None:
        """Sign what waits."""
        for each in self.held.values():
            if not each["status"]:
                each["status"] = {"conditions": [{"type": "Approved"}], "certificate": b64encode(CHAIN).decode()}

    def deny(self) -> None:
        """Deny what waits."""
        for each in self.held.values():
            if not each["status"]:
                each["status"] = {"conditions": [{"type": "Denied", "reason": "NoPod", "message": "no such pod"}]}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await serve(made.app(), "127.0.0.1", 0, WebBounds())
    made.port = listening.port
    yield made
    await listening.close()


def authority(server: Server, folder: Path) -> ClusterAuthority:
    (folder / "token").write_text("first\n")
    return ClusterAuthority(KubernetesPart("127.0.0.1", folder, server.port), "shop", folder / "trust.pem", "http")


async def asked(server: Server, place: ClusterAuthority) -> "asyncio.Task[bytes]":
    """A request under way, which the server has."""
    task = asyncio.create_task(place.enrol(CSR))
    async with asyncio.timeout(10):
        await server.made.wait()
    return task


async def test_a_certificate_comes_when_somebody_signs(server: Server, tmp_path: Path) -> None:
    task = await asked(server, authority(server, tmp_path))
    ((name, held),) = server.held.items()
    assert name.startswith("meterfabric-shop-")
    assert held["spec"]["signerName"] == SIGNER
    assert b64decode(held["spec"]["request"]) == CSR
    server.sign()
    assert await task == CHAIN


async def test_the_token_is_read_anew_each_time(server: Server, tmp_path: Path) -> None:
    place = authority(server, tmp_path)
    task = await asked(server, place)
    server.sign()
    await task
    (tmp_path / "token").write_text("second")
    again = asyncio.create_task(place.enrol(CSR))
    async with asyncio.timeout(10):
        while len(server.held) < 2:
            await asyncio.sleep(0.005)
    server.sign()
    await again
    assert server.tokens[0] == "Bearer first"
    assert server.tokens[-1] == "Bearer second"


async def test_a_request_that_waits_is_found_again_also_by_the_next_process(server: Server, tmp_path: Path) -> None:
    for place in (authority(server, tmp_path), authority(server, tmp_path)):
        task = await asked(server, place)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    asking, looked = len(server.tokens), server.looked
    last = asyncio.create_task(authority(server, tmp_path).enrol(CSR))
    async with asyncio.timeout(10):
        while len(server.tokens) == asking or server.looked == looked:
            await asyncio.sleep(0.005)
    server.sign()
    assert await last == CHAIN
    assert len(server.held) == 1


async def test_a_request_that_was_denied_is_told_and_made_anew(server: Server, tmp_path: Path) -> None:
    place = authority(server, tmp_path)
    task = await asked(server, place)
    server.deny()
    with pytest.raises(EnrolmentRefused, match="NoPod: no such pod"):
        await task
    again = asyncio.create_task(place.enrol(CSR))
    async with asyncio.timeout(10):
        while len(server.held) < 2:
            await asyncio.sleep(0.005)
    server.sign()
    assert await again == CHAIN


async def test_a_certificate_signed_before_is_not_taken_for_the_next_one(server: Server, tmp_path: Path) -> None:
    task = await asked(server, authority(server, tmp_path))
    server.sign()
    await task
    renewal = asyncio.create_task(authority(server, tmp_path).enrol(CSR))
    async with asyncio.timeout(10):
        while len(server.held) < 2:
            await asyncio.sleep(0.005)
    server.sign()
    await renewal


async def test_what_the_server_says_against_it_is_told(server: Server, tmp_path: Path) -> None:
    server.forbidden = True
    with pytest.raises(OSError, match="403: users may not"):
        await authority(server, tmp_path).enrol(CSR)


async def test_a_server_that_isnt_there_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    place = ClusterAuthority(KubernetesPart("127.0.0.1", tmp_path, 1), "shop", tmp_path / "trust.pem", "http")
    with pytest.raises(OSError, match="can't be asked"):
        await place.enrol(CSR)


async def test_the_bundle_is_the_file_that_others_keep(tmp_path: Path) -> None:
    (tmp_path / "trust.pem").write_bytes(b"bundle")
    place = ClusterAuthority(KubernetesPart("::1", tmp_path, 1), "shop", tmp_path / "trust.pem")
    assert await place.trust() == b"bundle"
