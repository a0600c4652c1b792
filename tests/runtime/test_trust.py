"""The trust bundle is read again when its file changes, and a broken file changes nothing."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.certificate import CertificateError
from meterfabric_protocol.errors import ProtocolError
from meterfabric_runtime.trust import TrustFile
from tests.pki import NOW, Authority


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def judged(trust: TrustFile, chain: bytes) -> bool:
    try:
        trust.verifier().verify(chain, NOW)
    except CertificateError:
        return False
    return True


def test_a_root_added_to_the_file_is_trusted_from_the_next_look_on(tmp_path: Path) -> None:
    old, new, clock = Authority("old"), Authority("new"), Clock()
    bundle = tmp_path / "trust.pem"
    bundle.write_bytes(old.pem)
    trust = TrustFile(bundle, clock)
    chain = new.chain(Ed25519PrivateKey.generate())
    assert not judged(trust, chain)
    bundle.write_bytes(old.pem + new.pem)
    assert not judged(trust, chain), "looked again too soon"
    clock.now += 1.0
    assert judged(trust, chain)
    assert judged(trust, old.chain(Ed25519PrivateKey.generate()))


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nnot\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_missing_or_broken_changes_nothing(tmp_path: Path, content: bytes | None) -> None:
    root, clock = Authority(), Clock()
    bundle = tmp_path / "trust.pem"
    bundle.write_bytes(root.pem)
    trust = TrustFile(bundle, clock)
    bundle.unlink()
    if content is not None:
        bundle.write_bytes(content)
    clock.now += 1.0
    assert judged(trust, root.chain(Ed25519PrivateKey.generate()))


def test_a_broken_bundle_at_start_is_an_error(tmp_path: Path) -> None:
    bundle = tmp_path / "trust.pem"
    bundle.write_bytes(b"nothing")
    with pytest.raises(ProtocolError):
        TrustFile(bundle)


def test_the_bundle_given_at_start_holds_until_there_is_a_file(tmp_path: Path) -> None:
    given, written, clock = Authority("given"), Authority("written"), Clock()
    bundle = tmp_path / "trust.pem"
    trust = TrustFile(bundle, clock, given=given.pem)
    chain = written.chain(Ed25519PrivateKey.generate())
    assert judged(trust, given.chain(Ed25519PrivateKey.generate()))
    assert not judged(trust, chain)
    bundle.write_bytes(given.pem + written.pem)
    clock.now += 1.0
    assert judged(trust, chain)
