"""The key's folder: private, and the head beside the key always whole."""

import stat
from pathlib import Path

import pytest

from meterfabric_sidecar.keys import HEAD_FILE, KEY_FILE, Head, KeyFolder


def test_a_key_comes_back_with_its_head(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "key")
    assert folder.load() is None
    key = folder.make()
    folder.write_head(Head("a/b/c/d", 3, b"r" * 32))
    held = KeyFolder(tmp_path / "key").load()
    assert held is not None
    assert held.public_key == key.public_key().public_bytes_raw()
    assert held.head == Head("a/b/c/d", 3, b"r" * 32)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "key")
    folder.make()
    folder.write_head(Head("a/b/c/d", 3, b"r" * 32))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "key").iterdir()}
    assert modes == {KEY_FILE: 0o600, HEAD_FILE: 0o600}
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o700


def test_a_new_key_throws_the_old_one_and_its_head_away(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path)
    old = folder.make()
    folder.write_head(Head("a/b/c/d", 3, b"r" * 32))
    new = folder.make()
    held = folder.load()
    assert held is not None
    assert held.public_key == new.public_key().public_bytes_raw() != old.public_key().public_bytes_raw()
    assert held.head is None


@pytest.mark.parametrize("bad", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_read_is_no_key(tmp_path: Path, bad: bytes) -> None:
    folder = KeyFolder(tmp_path)
    folder.make()
    (tmp_path / KEY_FILE).write_bytes(bad)
    assert folder.load() is None


@pytest.mark.parametrize("bad", [b"", b"{}", b"\xff\xfe", b'{"origin":1}'])
def test_a_head_that_cannot_be_read_is_no_head(tmp_path: Path, bad: bytes) -> None:
    folder = KeyFolder(tmp_path)
    folder.make()
    (tmp_path / HEAD_FILE).write_bytes(bad)
    held = folder.load()
    assert held is not None
    assert held.head is None


def test_a_head_outlives_its_key(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path)
    folder.make()
    folder.write_head(Head("a/b/c/d", 3, b"r" * 32))
    (tmp_path / KEY_FILE).unlink()
    assert folder.load() is None
    assert folder.head() == Head("a/b/c/d", 3, b"r" * 32)
