"""Reading /proc: what a process's files say, and what happens when they vanish."""

import os
import time
from pathlib import Path

import pytest

from machine_meter.proc import ProcessKey, Reading, Units, parse, scan

UNITS = Units(ticks_per_second=100, page_bytes=4096)


def stat(name: str = "a", utime: int = 7, stime: int = 3, start: int = 500, rss: int = 10, pid: int = 42) -> bytes:
    before_utime = "S 1 1 1 0 -1 4194560 100 0 0 0"
    after_stime = "0 0 20 0 1 0"
    return f"{pid} ({name}) {before_utime} {utime} {stime} {after_stime} {start} 1000000 {rss} 1844".encode()


def status(uid: int = 1000) -> bytes:
    return f"Name:\ta\nPid:\t42\nUid:\t{uid}\t0\t0\t0\nGid:\t0\t0\t0\t0\n".encode()


def add(root: Path, pid: int, stat_bytes: bytes, status_bytes: bytes) -> None:
    (root / str(pid)).mkdir()
    (root / str(pid) / "stat").write_bytes(stat_bytes)
    (root / str(pid) / "status").write_bytes(status_bytes)


def test_user_and_kernel_time_are_added_and_memory_is_in_bytes() -> None:
    assert parse(stat(), status(), UNITS) == (500, Reading(uid=1000, cpu_ticks=10, rss_bytes=40960))


@pytest.mark.parametrize("name", ["a b", "a) S 1 (b", "((", "))", ") ) )", ""])
def test_a_command_name_may_hold_spaces_and_parentheses(name: str) -> None:
    assert parse(stat(name), status(), UNITS) == (500, Reading(1000, 10, 40960))


@pytest.mark.parametrize("cut", [b"", b"42", b"42 (a", b"42 (a) S 1 1"])
def test_a_file_cut_short_is_no_reading(cut: bytes) -> None:
    assert parse(cut, status(), UNITS) is None


def test_a_status_without_a_user_is_no_reading() -> None:
    assert parse(stat(), b"", UNITS) is None


def test_only_numbered_folders_are_processes(tmp_path: Path) -> None:
    add(tmp_path, 42, stat(), status())
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    assert list(scan(tmp_path, UNITS).processes) == [ProcessKey(42, 500)]


def test_a_process_that_ends_during_the_scan_is_left_out(tmp_path: Path) -> None:
    add(tmp_path, 42, stat(), status())
    (tmp_path / "43").mkdir()
    assert list(scan(tmp_path, UNITS).processes) == [ProcessKey(42, 500)]


def test_a_proc_that_cannot_be_read_is_an_error_not_an_empty_machine(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "missing", UNITS)


def test_this_process_is_found_with_its_user_start_and_cpu() -> None:
    units = Units.of_this_machine()
    found = scan(Path("/proc"), units)
    mine = [(key, reading) for key, reading in found.processes.items() if key.pid == os.getpid()]
    assert len(mine) == 1
    key, reading = mine[0]
    assert reading.uid == os.getuid()
    assert reading.rss_bytes > 1_000_000
    assert 0 <= reading.cpu_ticks / units.ticks_per_second <= time.process_time() + 1
    assert 0 < key.start_ticks / units.ticks_per_second <= found.boot
