"""A lock is one holder's, is seen by others, and is gone with its holder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meterfabric_runtime import lock

HOLD = (
    "import sys; from pathlib import Path; from meterfabric_runtime import lock; lock.take(Path(sys.argv[1])); print()"
)


def test_a_lock_is_seen_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock.is_taken(path)
    held = lock.take(path)
    assert lock.is_taken(path)
    with pytest.raises(BlockingIOError):
        lock.take(path)
    os.close(held)
    assert not lock.is_taken(path)


def test_a_lock_is_free_when_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", f"{HOLD}; sys.stdout.flush(); sys.stdin.read()", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert lock.is_taken(path)
        holder.kill()
    assert not lock.is_taken(path)
