"""The list of relays and the ready file: a change is told once, what is broken for a moment changes nothing."""

import json
from collections.abc import Mapping
from pathlib import Path

from meterfabric_runtime.discovery import RelayFile
from meterfabric_runtime.ready import Ready, read_ready, write_ready


def write(path: Path, **relays: str) -> None:
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps([{"name": name, "endpoint": endpoint} for name, endpoint in relays.items()]))
    whole.replace(path)


def test_each_change_of_the_list_is_told_once(tmp_path: Path) -> None:
    told: list[Mapping[str, str]] = []
    path = tmp_path / "relays.json"
    file = RelayFile(path, told.append)
    file.look()
    assert told == []
    write(path, a="tcp://127.0.0.1:1")
    file.look()
    file.look()
    write(path, a="tcp://127.0.0.1:2", b="tcp://127.0.0.1:3")
    file.look()
    assert told == [{"a": "tcp://127.0.0.1:1"}, {"a": "tcp://127.0.0.1:2", "b": "tcp://127.0.0.1:3"}]


def test_a_broken_or_missing_list_leaves_the_last_one_in_force(tmp_path: Path) -> None:
    told: list[Mapping[str, str]] = []
    path = tmp_path / "relays.json"
    write(path, a="tcp://127.0.0.1:1")
    file = RelayFile(path, told.append)
    file.look()
    path.write_text("[{")
    file.look()
    path.unlink()
    file.look()
    write(path, a="tcp://127.0.0.1:1")
    file.look()
    assert told == [{"a": "tcp://127.0.0.1:1"}]


def test_a_ready_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    assert read_ready(path) is None
    write_ready(path, Ready(1, 2, 3))
    assert read_ready(path) == Ready(1, 2, 3)
    path.write_text("{")
    assert read_ready(path) is None


def test_nobody_asked_for_a_ready_file() -> None:
    write_ready(None, Ready(1))
