"""The sink's own chain: read from its file, kept in the destination, read again when it is renewed."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_sink.destination.base import Destination
from meterfabric_sink.destination.open import destination
from meterfabric_sink.evidence import open_evidence
from meterfabric_sink.own_chain import OwnChain
from tests.pki import DAY, NOW, SINK, Authority


async def opened(tmp_path: Path) -> tuple[Destination, str]:
    url = f"sqlite:{tmp_path / 'sink.db'}"
    store = destination(url)
    await store.open()
    return store, url


async def test_a_renewed_chain_is_shown_and_kept_beside_the_old_one(tmp_path: Path) -> None:
    authority, key = Authority(), Ed25519PrivateKey.generate()
    old, new = authority.chain(key, SINK), authority.chain(key, SINK, not_before=NOW + DAY)
    path = tmp_path / "chain.pem"
    path.write_bytes(old)
    store, url = await opened(tmp_path)
    own = OwnChain(path, store, interval=0.01)
    await own.keep()
    following = asyncio.create_task(own.run())
    path.write_bytes(b"half a chain")
    path.write_bytes(new)
    async with asyncio.timeout(10):
        while own.current.chain != new:
            await asyncio.sleep(0.01)
        with open_evidence(url) as evidence:
            assert evidence.sink_certificates()[0].chain == old
        kept = 0
        while kept < 2:
            await asyncio.sleep(0.01)
            with open_evidence(url) as evidence:
                kept = len(evidence.sink_certificates())
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await store.close()
    assert own.current.not_before == int((NOW + DAY).timestamp())


async def test_no_certificate_is_no_sink(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    path = tmp_path / "chain.pem"
    with pytest.raises(FileNotFoundError):
        OwnChain(path, store)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="PEM"):
        OwnChain(path, store)
    await store.close()
