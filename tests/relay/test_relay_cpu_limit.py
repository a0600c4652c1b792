"""What a process may use of the processor, read from cgroup files as they are found in pods and on machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterfabric_relay.cpu_limit import CpuLimit

MACHINE = 8.0

V2_MOUNT = "42 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime master:9 - cgroup cgroup rw,cpu,cpuacct"
V1_OTHER = "33 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset"
V1_POD = "/kubepods/burstable/pod4c/2f9a"


def machine(root: Path, cgroup: str, mounts: list[str], files: dict[str, str]) -> CpuLimit:
    """A process whose files say this."""
    for name, text in {
        "proc/self/cgroup": cgroup,
        "proc/self/mountinfo": "\n".join(["21 1 8:1 / / rw - ext4 /dev/root rw", *mounts]),
        **files,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return CpuLimit(root, MACHINE)


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    """The two files of a cgroup."""
    top = f"sys/fs/cgroup/cpu,cpuacct{folder}"
    return {f"{top}/cpu.cfs_quota_us": str(quota), f"{top}/cpu.cfs_period_us": str(period)}


def test_a_pods_limit_of_version_2_is_read_at_the_root_of_its_own_cgroup_namespace(tmp_path: Path) -> None:
    assert machine(tmp_path, "0::/", [V2_MOUNT], {"sys/fs/cgroup/cpu.max": "25000 100000"}).cores() == 0.25


def test_version_2_without_a_limit_is_the_machine(tmp_path: Path) -> None:
    assert machine(tmp_path, "0::/", [V2_MOUNT], {"sys/fs/cgroup/cpu.max": "max 100000"}).cores() == MACHINE


def test_the_tightest_limit_above_a_service_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/system.slice/relay.service/cpu.max": "200000 100000",
        "sys/fs/cgroup/system.slice/cpu.max": "150000 100000",
    }
    assert machine(tmp_path, "0::/system.slice/relay.service", [V2_MOUNT], files).cores() == 1.5


def test_a_cgroup_outside_of_what_is_mounted_is_read_at_the_mount(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "50000 100000"}
    assert machine(tmp_path, "0::/../../other", [V2_MOUNT], files).cores() == 0.5


@pytest.mark.parametrize("root", ["/", V1_POD])
def test_a_pods_limit_of_version_1_is_read_wherever_its_cgroup_is_mounted(tmp_path: Path, root: str) -> None:
    cgroup = f"11:cpuset:{V1_POD}\n4:cpu,cpuacct:{V1_POD}\n1:name=systemd:{V1_POD}"
    files = v1(V1_POD if root == "/" else "", 30_000, 50_000)
    assert machine(tmp_path, cgroup, [V1_OTHER, V1_MOUNT.format(root=root)], files).cores() == 0.6


def test_the_pods_limit_of_version_1_counts_where_it_is_tighter_than_the_containers(tmp_path: Path) -> None:
    files = {**v1(V1_POD, 400_000), **v1("/kubepods/burstable/pod4c", 200_000), **v1("/kubepods", -1)}
    assert machine(tmp_path, f"4:cpu,cpuacct:{V1_POD}", [V1_MOUNT.format(root="/")], files).cores() == 2.0


def test_version_1_without_a_limit_is_the_machine(tmp_path: Path) -> None:
    assert machine(tmp_path, "4:cpu,cpuacct:/", [V1_MOUNT.format(root="/")], v1("", -1)).cores() == MACHINE


def test_a_limit_above_the_machine_is_the_machine(tmp_path: Path) -> None:
    assert machine(tmp_path, "0::/", [V2_MOUNT], {"sys/fs/cgroup/cpu.max": "6400000 100000"}).cores() == MACHINE


def test_a_limit_that_is_changed_while_it_runs_is_seen(tmp_path: Path) -> None:
    limit = machine(tmp_path, "0::/", [V2_MOUNT], {"sys/fs/cgroup/cpu.max": "25000 100000"})
    assert limit.cores() == 0.25
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("75000 100000\n")
    assert limit.cores() == 0.75


@pytest.mark.parametrize("text", ["", "nonsense", "0 0", "100000"])
def test_files_that_make_no_sense_are_no_limit(tmp_path: Path, text: str) -> None:
    assert machine(tmp_path, "0::/", [V2_MOUNT], {"sys/fs/cgroup/cpu.max": text}).cores() == MACHINE


def test_a_machine_without_cgroups_is_the_machine(tmp_path: Path) -> None:
    assert CpuLimit(tmp_path, MACHINE).cores() == MACHINE


def test_this_very_process_may_use_some() -> None:
    assert CpuLimit().cores() > 0
