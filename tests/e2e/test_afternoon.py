"""Five minutes of a hostile afternoon; `make soak-cluster` spends longer ones.

SEED in the environment has one again; it is printed.
"""

import os
import secrets

import pytest

from tests.cluster import cluster, versions
from tests.e2e.afternoon import spend
from tests.e2e.ground import lay
from tests.kubernetes.installed import images, install_kinds

pytestmark = pytest.mark.cluster

SECONDS = 300.0


def test_what_was_accepted_is_in_each_sink_once_whatever_went_wrong() -> None:
    seed = int(os.environ.get("SEED") or secrets.randbelow(1_000_000))
    version = os.environ.get("KUBERNETES") or versions.DEFAULT
    with cluster.temporary("afternoon", version, 3, print) as kubernetes:
        install_kinds(kubernetes)
        spent = spend(lay(images(kubernetes)), seed, SECONDS, print)
    assert not spent.verdict.all_wrong, f"seed {seed}"
    assert all(sink.held >= spent.verdict.accepted - sink.lacking > 0 for sink in spent.verdict.sinks)
    assert sum(each.done for each in spent.happened) > len(spent.happened) / 2, "who was to be hit wasn't there"
