from pathlib import Path

import pytest

from meterfabric_sink.destination.file import FileDestination
from meterfabric_sink.destination.open import destination, local_path, shown_url
from meterfabric_sink.destination.postgres import PostgresDestination
from meterfabric_sink.destination.sqlite import SqliteDestination


@pytest.mark.parametrize(
    ("url", "kind", "workers"),
    [
        ("file:sinks/main", FileDestination, "one"),
        ("sqlite:/var/lib/sink.db", SqliteDestination, "one"),
        ("postgresql://user@db.example:5432/usage?sslmode=verify-full", PostgresDestination, "many"),
        ("postgres://db.example/usage", PostgresDestination, "many"),
    ],
)
def test_a_sink_url_names_its_destination(url: str, kind: type, workers: str) -> None:
    found = destination(url)
    assert type(found) is kind
    assert found.workers == workers
    assert found.kind == "transactional"


@pytest.mark.parametrize("url", ["", "file", "file:", "sqlite:", "mysql://db", "postgresql:db", "/a/path"])
def test_any_other_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValueError, match="expected file:DIR"):
        destination(url)


@pytest.mark.parametrize("url", ["file:/a/b", "file:///a/b"])
def test_a_path_may_be_written_as_a_full_url(url: str) -> None:
    assert local_path(url) == Path("/a/b")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pa:ss@db/usage", "postgresql://me:***@db/usage"),
        ("postgresql://me@db/usage?sslmode=require", "postgresql://me@db/usage?sslmode=require"),
        ("postgresql://db/usage?user=me&password=pass&x=1", "postgresql://db/usage?user=me&password=***&x=1"),
        ("file:/a:b@c", "file:/a:b@c"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown
