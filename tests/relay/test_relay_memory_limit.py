"""How many connections a relay lets in, by the memory that its cgroup gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterfabric_protocol.fabric_spec import Relay, Resources
from meterfabric_protocol.notation import amount
from meterfabric_relay.memory_limit import BESIDE, CONNECTION, FEWEST, connections_in, memory_limit

V2_MOUNT = "42 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime master:9 - cgroup cgroup rw,memory"
RECORDS = amount(Relay().memory)


def machine(root: Path, cgroup: str, mount: str, files: dict[str, str]) -> Path:
    """A machine whose files say this."""
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mount, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_a_pods_limit_of_version_2_is_read(tmp_path: Path) -> None:
    assert memory_limit(machine(tmp_path, "0::/", V2_MOUNT, {"sys/fs/cgroup/memory.max": "268435456"})) == 256 << 20


def test_version_2_without_a_limit_has_none(tmp_path: Path) -> None:
    assert memory_limit(machine(tmp_path, "0::/", V2_MOUNT, {"sys/fs/cgroup/memory.max": "max"})) is None


def test_the_tightest_limit_of_version_1_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/pods/pod/memory.limit_in_bytes": "536870912",
        "sys/fs/cgroup/memory/pods/memory.limit_in_bytes": "402653184",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    assert memory_limit(machine(tmp_path, "4:memory:/pods/pod", V1_MOUNT, files)) == 384 << 20


def test_a_machine_without_cgroups_has_none(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None


def test_without_a_limit_memory_bounds_nothing() -> None:
    assert connections_in(None, RECORDS) > 1_000_000


def test_what_a_relay_has_by_default_holds_what_it_lets_in() -> None:
    limit = amount(Resources().memory)
    most = connections_in(limit, RECORDS)
    assert 3_000 < most < Relay().max_connections
    assert BESIDE + RECORDS + most * CONNECTION <= limit


@pytest.mark.parametrize("limit", [0, 32 << 20, 96 << 20])
def test_a_limit_below_any_use_still_lets_some_in(limit: int) -> None:
    assert connections_in(limit, RECORDS) == FEWEST
