"""Small files that are there whole or not at all, and secrets that nobody else can read."""

import os
import secrets
import stat
from pathlib import Path

SECRET_BYTES = 65536


class SecretFileError(Exception):
    """A secret's file that can't be used: too open, too long, or not what it should hold."""


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` at `path`, synced, so that a reader sees the old content or the new, also after a crash."""
    fresh = _write_aside(path, data, mode)
    os.replace(fresh, path)
    sync_folder(path.parent)


def create_secret(path: Path, data: bytes) -> bool:
    """Put `data` at `path`, for its owner only, unless there is a file already; say whether it was put."""
    fresh = _write_aside(path, data, 0o600)
    try:
        os.link(fresh, path)
    except FileExistsError:
        return False
    finally:
        fresh.unlink()
    sync_folder(path.parent)
    return True


def read_secret(path: Path) -> bytes:
    """Read a secret of at most 64 KiB.

    Raises FileNotFoundError, and SecretFileError where others than the owner may read it: then it is no secret, and
    going on would hide that. A file of root's that our group may read is one that Kubernetes mounted (`fsGroup`).
    """
    with path.open("rb") as stream:
        found = os.fstat(stream.fileno())
        mode = stat.S_IMODE(found.st_mode)
        mounted = found.st_uid == 0 and os.geteuid() != 0
        if mode & (0o037 if mounted else 0o077):
            raise SecretFileError(f"{path} has mode {mode:04o}, others may read it: make a new key, or chmod 600 it")
        data = stream.read(SECRET_BYTES + 1)
    if len(data) > SECRET_BYTES:
        raise SecretFileError(f"{path} is longer than {SECRET_BYTES} bytes")
    return data


def private_folder(path: Path) -> Path:
    """Make the folder if need be, and close it to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def sync_folder(path: Path) -> None:
    """Make the folder's entries durable: without this a power loss may undo a rename (fsync(2))."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_aside(path: Path, data: bytes, mode: int) -> Path:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return fresh
