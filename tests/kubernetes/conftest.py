"""The cluster that the tests of this folder share: one of their own.

CLUSTER=NAME in the environment takes one that `make cluster-up` left, for who is writing a test.
"""

import os
from collections.abc import Iterator

import pytest

from tests.cluster import cluster, versions
from tests.cluster.cluster import Cluster
from tests.kubernetes.installed import Installed, images, install_kinds, set_up
from tests.kubernetes.standing import tidy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first: begun last, it would be waited for while other workers have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Cluster]:
    """With both kinds of ours."""
    held = os.environ.get("CLUSTER")
    if held:
        found = cluster.find(held, print)
        install_kinds(found)
        yield found
        return
    version = os.environ.get("KUBERNETES") or versions.DEFAULT
    with cluster.temporary("kinds", version, 1, print) as made:
        install_kinds(made)
        yield made


@pytest.fixture(scope="session")
def release(kubernetes: Cluster) -> Installed:
    """Meterfabric by its charts, a fabric that is ready, and its sink in PostgreSQL."""
    made = images(kubernetes)
    set_up(made)
    return made


@pytest.fixture(scope="module")
def installed(release: Installed) -> Iterator[Installed]:
    """The same for the tests of one file: whatever became of them, the next file's find it as these did."""
    yield release
    tidy(release)
