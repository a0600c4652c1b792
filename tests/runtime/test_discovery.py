"""The list of relays and the ready file: a change is told once, what is broken for a moment changes nothing."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from meterfabric_runtime.discovery import RelayFile, RelayName, relay_source
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


async def test_the_addresses_of_a_name_are_relays_and_told_once() -> None:
    told: list[Mapping[str, str]] = []
    name = relay_source("dns://127.0.0.1:4700", told.append)
    assert isinstance(name, RelayName)
    await name.ask()
    await name.ask()
    assert told == [{"127.0.0.1": "tcp://127.0.0.1:4700"}]


async def test_an_address_of_version_6_is_put_in_brackets() -> None:
    told: list[Mapping[str, str]] = []
    await RelayName("::1", 4700, told.append).ask()
    assert told == [{"::1": "tcp://[::1]:4700"}]


async def test_a_name_that_cant_be_resolved_changes_nothing() -> None:
    told: list[Mapping[str, str]] = []
    await RelayName("no-such-name.invalid.", 4700, told.append).ask()
    assert not told


async def test_a_name_is_asked_for_until_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known = asyncio.Event()
    answers = iter([OSError("not yet"), [(2, 1, 6, "", ("10.0.0.7", 4700))]])

    async def getaddrinfo(*_: object, **__: object) -> object:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    running = asyncio.create_task(RelayName("relays", 4700, lambda _: known.set(), (0.01, 60.0)).run())
    async with asyncio.timeout(10):
        await known.wait()
    running.cancel()


@pytest.mark.parametrize("source", ["dns://", "dns://relays", "dns://:4700"])
def test_a_source_that_names_no_host_or_port_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="not dns"):
        relay_source(source, lambda _: None)


def test_a_source_without_a_scheme_is_a_file(tmp_path: Path) -> None:
    told: list[Mapping[str, str]] = []
    write(tmp_path / "relays.json", a="tcp://127.0.0.1:1")
    relay_source(str(tmp_path / "relays.json"), told.append).look()
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
