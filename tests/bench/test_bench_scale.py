"""What bench/scale rests on: quotas of both cgroup versions, and counts over time read right."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.scale.connected import came, most_in_a_second, reached
from bench.scale.ground import ground, read_peers
from bench.scale.loading import Told
from bench.scale.shares import NoShares, hierarchy, shares
from meterfabric_protocol.identity import ChainVerifier, TrustBundle
from meterfabric_relay.cpu_limit import CpuLimit


def tree(root: Path, mounts: str, *folders: str) -> Path:
    """A root with these mounts."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(mounts)
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


def test_a_quota_of_version_1_is_written_in_its_two_files(tmp_path: Path) -> None:
    at = hierarchy(tree(tmp_path, "cgroup /sys/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n", "sys/cpu"))
    at.limit(at.folder, 0.15)
    assert [(at.folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")] == ["3000", "20000"]


def test_a_quota_of_version_2_is_written_after_the_controller_was_handed_down(tmp_path: Path) -> None:
    root = tree(tmp_path, "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "sys/fs/cgroup")
    (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu memory\n")
    at = hierarchy(root)
    assert (root / "sys/fs/cgroup/cgroup.subtree_control").read_text() == "+cpu"
    at.limit(at.folder, 0.15)
    assert (at.folder / "cpu.max").read_text() == "3000 20000"


def test_where_no_quota_can_be_given_a_person_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoShares, match="no cgroup hierarchy"):
        hierarchy(tree(tmp_path, "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", "sys/fs/cgroup/unified"))


def test_a_process_in_a_share_reads_the_share_as_its_limit_and_the_cgroup_goes_with_it() -> None:
    try:
        with shares(1, 0.2) as (share,):
            cgroup = share.cgroup
            ask = "import sys; sys.stdin.read(1); from meterfabric_relay.cpu_limit import CpuLimit"
            process = subprocess.Popen(
                [sys.executable, "-c", f"{ask}; print(CpuLimit().cores())"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            share.take(process.pid)
            assert float(process.communicate(b"\n")[0]) == pytest.approx(0.2)
        assert not cgroup.exists()
    except NoShares:
        assert CpuLimit().cores() > 0  # this machine gives none, and said so


def test_peers_read_what_was_laid_down_and_are_certified() -> None:
    with ground() as here:
        made = here.producers(2)
        found = read_peers(here.write_peers("pods", made))
        verifier = ChainVerifier(TrustBundle(here.trust))
        names = [verifier.verify(peer.chain, datetime.now(UTC), role="producer").name for peer in found]
    assert names == [peer.name for peer in made]
    assert [peer.key.private_bytes_raw() for peer in found] == [peer.secret for peer in made]


def test_half_have_come_when_the_arrivals_of_all_swarms_add_up_to_it() -> None:
    one, two = (
        [Told(*each) for each in told]
        for told in (((0, 10), (5, 0), (7, 4), (9, 10)), ((0, 10), (5.1, 0), (8, 6), (8.5, 10)))
    )
    arrivals = came([one, two], since=4)
    assert reached(arrivals, 10) == 8
    assert reached(arrivals, 20) == 9
    with pytest.raises(RuntimeError, match="20 came"):
        reached(arrivals, 21)


def test_the_peak_is_the_most_that_came_within_a_second() -> None:
    assert most_in_a_second([(6.2, 3), (7, 6), (9, 1)]) == 9
    assert most_in_a_second([(0.1, 5)]) == 5
    assert most_in_a_second([]) == 0
