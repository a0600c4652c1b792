"""A log with its first notice, and a sink that holds nothing."""

import pytest

from meterfabric_protocol import notice

from .sink_rig import Log, Store


@pytest.fixture
def log() -> Log:
    log = Log()
    log.seal(notice.encode(notice.Opened(log=log.origin)))
    return log


@pytest.fixture
def store() -> Store:
    return Store()
