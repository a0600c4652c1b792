"""Helm, and a cluster for what only a real API server can say.

CLUSTER=NAME in the environment takes one that `make cluster-up` left, for who is writing a test.
"""

import os
from collections.abc import Iterator

import pytest

from tests.charts.helm import Helm, Object
from tests.charts.rendered import NAMES, WAYS
from tests.cluster import build, cluster, versions
from tests.cluster.cluster import Cluster


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The version that test clusters come with, so that what it says is the same everywhere."""
    return Helm(build.build(versions.DEFAULT, print)["helm"])


@pytest.fixture(params=WAYS, ids=NAMES)
def objects(request: pytest.FixtureRequest, helm: Helm) -> list[Object]:
    """What is rendered, each way that the chart is installed."""
    return helm.rendered(request.param)


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Cluster]:
    """One node, nothing on it."""
    held = os.environ.get("CLUSTER")
    if held:
        yield cluster.find(held, print)
        return
    with cluster.temporary("charts", os.environ.get("KUBERNETES") or versions.DEFAULT, 1, print) as made:
        yield made
