"""The state of a local fabric as `status` and the live line tell it."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from meterfabric_cli import pages
from meterfabric_cli.errors import CommandError
from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.live_line import LiveLine, told
from meterfabric_cli.local_fabric.state import ProcessState, SinkState, State, is_running, read_state, take_lock
from meterfabric_cli.table import table
from tests.cli.running import Command

STATUS: dict[str, Any] = {
    "accepted": 12_345,
    "spool": {"used": 10, "quota": 100, "full": False},
    "sinks": {
        "billing": {"delivered": 12_000, "expired": 0, "pending": {"records": 345.0}},
        "archive": {"delivered": 12_300, "expired": 5, "pending": {"records": 40.0}},
    },
}


def state(pid: int = 0) -> State:
    process = ProcessState("relay-0", "relay", "/nowhere", pid, False, 0, 0, 0, 0.0)
    sinks = [SinkState("billing", "sqlite:/x/records.db")]
    return State(os.getpid(), "metering.demo", "http://127.0.0.1:1", "tcp://127.0.0.1:2", "t", sinks, [process])


def test_a_stopped_fabric_says_what_can_be_audited(tmp_path: Path, meterfabric: Command) -> None:
    state().write(tmp_path / "state.json")
    done = meterfabric("status", "--dir", tmp_path)
    assert done.code == 1
    assert done.out == ("fabric metering.demo is stopped; its sinks can be audited:\n  billing: sqlite:/x/records.db\n")
    done = meterfabric("status", "--dir", tmp_path, "--json")
    assert (done.code, done.json["running"], done.json["health"]) == (1, False, {"relay-0": "stopped"})


def test_a_long_reason_is_told_below_the_table(
    tmp_path: Path, meterfabric: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = take_lock(Layout(tmp_path))
    said = state(77)
    said.processes[0].http_port = 1
    said.write(tmp_path / "state.json")
    monkeypatch.setattr(pages, "fetch", lambda port, path: (503, {"reasons": ["no room", "no relay at all"]}))
    done = meterfabric("status", "--dir", tmp_path)
    os.close(lock)
    assert done.code == 1
    assert [line.split()[:4] for line in done.out.splitlines() if line.startswith("relay-0 ")] == [
        ["relay-0", "77", "NOT", "READY"]
    ]
    assert "\nrelay-0: no room; no relay at all\n" in done.out


def test_a_process_that_isnt_up_is_told(tmp_path: Path, meterfabric: Command) -> None:
    lock = take_lock(Layout(tmp_path))
    for pid, health in ((0, "ended"), (77, "starting")):
        state(pid).write(tmp_path / "state.json")
        done = meterfabric("status", "--dir", tmp_path, "--json")
        assert (done.code, done.json["running"], done.json["health"]) == (1, True, {"relay-0": health})
    assert "relay-0" in meterfabric("status", "--dir", tmp_path).out
    os.close(lock)


def test_a_folder_without_a_fabric_is_an_error(tmp_path: Path, meterfabric: Command) -> None:
    done = meterfabric("status", "--dir", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "no fabric was started in this folder" in done.err
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(CommandError, match=r"state\.json"):
        read_state(tmp_path / "state.json")


def test_a_folder_is_one_commands_at_a_time(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "new")
    assert not is_running(layout)
    lock = take_lock(layout)
    assert is_running(layout)
    with pytest.raises(CommandError, match="run by another process already"):
        take_lock(layout)
    os.close(lock)
    assert not is_running(layout)
    os.close(take_lock(layout))


def test_the_line_tells_every_sink() -> None:
    assert told(STATUS) == (
        "accepted 12,345 | billing: delivered 12,000, pending 345, expired 0"
        " | archive: delivered 12,300, pending 40, expired 5"
    )
    full = json.loads(json.dumps(STATUS))
    full["spool"]["full"] = True
    assert told(full).endswith(" | the spool is FULL")


def test_off_a_terminal_a_line_is_written_when_it_changed_and_not_all_the_time() -> None:
    out = io.StringIO()
    line = LiveLine(out)
    for text in ("one", "one", "two", "three"):
        line.show(text)
    line.say("a message")
    line.end()
    assert out.getvalue() == "one\na message\n"


def test_on_a_terminal_a_line_is_drawn_over_itself_and_messages_stand_above() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    line = LiveLine(out)
    line.show("one")
    line.say("a message")
    line.show("two")
    line.end()
    clear = "\r\x1b[K"
    assert out.getvalue() == f"{clear}one{clear}a message\none{clear}two\n"


def test_a_table_aligns_numbers_to_the_right_and_words_to_the_left() -> None:
    assert table(["name", "count", "at"], [["a", 1_000, "x"], ["longer", 7, ""]]) == (
        "name    count  at\na       1,000  x\nlonger      7\n"
    )
