import os
from pathlib import Path

import pytest

from meterfabric_runtime.files import SecretFileError, create_secret, private_folder, read_secret, write_whole


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"one", 0o644)
    write_whole(path, b"two", 0o644)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"one")
    with pytest.raises(TypeError):
        write_whole(path, "text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert create_secret(path, b"one")
    assert not create_secret(path, b"two")
    assert read_secret(path) == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_open_to_others_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    create_secret(path, b"x" * 65537)
    with pytest.raises(SecretFileError, match="longer than 65536"):
        read_secret(path)
    path.chmod(0o604)
    with pytest.raises(SecretFileError, match="0604"):
        read_secret(path)
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "none")


def test_a_secret_that_kubernetes_mounted_may_be_readable_by_our_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    create_secret(path, b"one")
    path.chmod(0o440)
    with pytest.raises(SecretFileError, match="0440"):
        read_secret(path)
    # As the kubelet mounts it: root's, for the group of a process that isn't root.
    monkeypatch.setattr("os.fstat", lambda file: _rooted(os.stat(file)))
    monkeypatch.setattr("os.geteuid", lambda: 65532)
    assert read_secret(path) == b"one"
    path.chmod(0o460)
    with pytest.raises(SecretFileError, match="0460"):
        read_secret(path)


def _rooted(found: os.stat_result) -> os.stat_result:
    return os.stat_result((*found[:4], 0, *found[5:]))


def test_a_folder_is_closed_to_others_also_when_it_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True, mode=0o755)
    assert private_folder(folder).stat().st_mode & 0o777 == 0o700
