"""The sink's own chain: read from its file, kept in the destination, read again when it is renewed."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

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


def keep_key(tmp_path: Path, key: Ed25519PrivateKey) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


async def test_a_renewed_chain_is_shown_and_kept_beside_the_old_one(tmp_path: Path) -> None:
    authority, key = Authority(), Ed25519PrivateKey.generate()
    old, new = authority.chain(key, SINK), authority.chain(key, SINK, not_before=NOW + DAY)
    path = tmp_path / "chain.pem"
    path.write_bytes(old)
    store, url = await opened(tmp_path)
    own = OwnChain(path, keep_key(tmp_path, key), store, interval=0.01)
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


async def test_a_worker_ends_where_it_is_given_another_key_and_its_chain(tmp_path: Path) -> None:
    authority, key, another = Authority(), Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    path = tmp_path / "chain.pem"
    path.write_bytes(old := authority.chain(key, SINK))
    store, url = await opened(tmp_path)
    own = OwnChain(path, keep_key(tmp_path, key), store, interval=0.01)
    await own.keep()
    following = asyncio.create_task(own.run())
    path.write_bytes(authority.chain(another, SINK))
    await asyncio.wait([following], timeout=0.2)
    assert not following.done()
    keep_key(tmp_path, another)
    async with asyncio.timeout(10):
        await following
    # What it signs to its end is still of the key whose chain is kept.
    assert (own.key.public_key(), own.current.chain) == (key.public_key(), old)
    with open_evidence(url) as evidence:
        assert [each.chain for each in evidence.sink_certificates()] == [old]
    await store.close()


async def test_no_certificate_or_one_of_another_key_is_no_sink(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    path, key = tmp_path / "chain.pem", keep_key(tmp_path, Ed25519PrivateKey.generate())
    with pytest.raises(FileNotFoundError):
        OwnChain(path, key, store)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="PEM"):
        OwnChain(path, key, store)
    path.write_bytes(Authority().chain(Ed25519PrivateKey.generate(), SINK))
    with pytest.raises(ValueError, match="of another key"):
        OwnChain(path, key, store)
    await store.close()
