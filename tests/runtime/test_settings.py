import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from meterfabric_runtime import settings
from meterfabric_runtime.settings import SettingsError


class Spool(msgspec.Struct, frozen=True):
    quota: Annotated[int, msgspec.Meta(ge=1)] = 1000
    folder: Path = Path("spool")


@dataclass(frozen=True)
class Settings:
    name: str
    port: int = 8280
    ratio: float = 0.5
    strict: bool = True
    hosts: list[str] = field(default_factory=list)
    token: int | None = None
    spool: Spool = field(default_factory=Spool)


def load(tmp_path: Path, content: object = None, **environ: str) -> Settings:
    file = None
    if content is not None:
        file = tmp_path / "settings.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return settings.load(Settings, "sidecar", file=file, environ=environ)


def test_the_file_fills_the_fields_and_defaults_the_rest(tmp_path: Path) -> None:
    got = load(tmp_path, {"name": "a", "spool": {"folder": "there"}})
    assert got == Settings("a", spool=Spool(1000, Path("there")))


def test_the_environment_wins_over_the_file_in_every_type(tmp_path: Path) -> None:
    got = load(
        tmp_path,
        {"name": "a", "port": 1, "spool": {"quota": 5}},
        METERFABRIC_SIDECAR_NAME="123",
        METERFABRIC_SIDECAR_PORT="2",
        METERFABRIC_SIDECAR_RATIO="1.5",
        METERFABRIC_SIDECAR_STRICT="false",
        METERFABRIC_SIDECAR_HOSTS='["x", "y"]',
        METERFABRIC_SIDECAR_TOKEN="7",
        METERFABRIC_SIDECAR_SPOOL_QUOTA="6",
        METERFABRIC_SIDECAR_SPOOL_FOLDER="/var/spool",
        METERFABRIC_RELAY_PORT="3",
    )
    assert got == Settings("123", 2, 1.5, False, ["x", "y"], 7, Spool(6, Path("/var/spool")))


def test_an_empty_variable_is_none_where_none_is_allowed(tmp_path: Path) -> None:
    assert load(tmp_path, {"name": "a", "token": 5}, METERFABRIC_SIDECAR_TOKEN="").token is None


@pytest.mark.parametrize(
    ("content", "where", "field", "problem"),
    [
        ({}, "settings.json", "name", "required"),
        ({"name": "a", "port": "x"}, "settings.json", "port", "Expected `int`, got `str`"),
        ({"name": "a", "spool": {"quota": 0}}, "settings.json", "spool.quota", "Expected `int` >= 1"),
        ({"name": "a", "spool": {"folder": 5}}, "settings.json", "spool.folder", "Expected `Path`, got `int`"),
        ({"name": "a", "spool": {"qouta": 9}}, "settings.json", "spool.qouta", "unknown; known here: folder, quota"),
        ({"nam": "a"}, "settings.json", "nam", "unknown; known here: hosts, name"),
        ("[1]", "settings.json", "", "not a JSON object"),
        ("{", "settings.json", "", "not a JSON object"),
        (" " * (settings.FILE_BYTES + 1), "settings.json", "", "larger than"),
    ],
)
def test_a_wrong_file_is_refused_naming_file_field_and_problem(
    tmp_path: Path, content: object, where: str, field: str, problem: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, content)
    assert caught.value.where.endswith(where)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert str(caught.value).startswith(caught.value.where)


def test_a_wrong_variable_is_named_with_the_value_seen(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^METERFABRIC_SIDECAR_PORT: port: .*got 'eighty'$"):
        load(tmp_path, {"name": "a"}, METERFABRIC_SIDECAR_PORT="eighty")


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {"name": "a"}, METERFABRIC_SIDECAR_TOKEN="hunter2")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        settings.load(Settings, "sidecar", file=tmp_path / "missing.json", environ={})
