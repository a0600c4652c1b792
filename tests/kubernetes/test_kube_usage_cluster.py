"""The example that meters a cluster, on one: usage of real pods arrives through injected sidecars."""

import re
from pathlib import Path

import pytest

from tests.cluster.wait import until
from tests.kubernetes.installed import METERING, SECONDS, SHOP, Installed

pytestmark = pytest.mark.cluster

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kube-usage"
BURN = """
import time
while True:
    begun = time.process_time()
    while time.process_time() - begun < 0.05:
        pass
    time.sleep(0.45)
"""
SUMS = """
SELECT count(*), sum((data->>'cpu_core_seconds')::float),
       sum(extract(epoch FROM (data->>'interval_end')::timestamptz - (data->>'interval_start')::timestamptz))
FROM meterfabric.records WHERE source = '//node-1/kubelet' AND subject = '{}'
"""
OVERLAPS = """
SELECT count(*) FROM (
  SELECT (data->>'interval_start')::timestamptz AS start,
         lag((data->>'interval_end')::timestamptz) OVER (PARTITION BY subject ORDER BY data->>'interval_end') AS before
  FROM meterfabric.records WHERE source = '//node-1/kubelet') AS intervals
WHERE start < before
"""

GAPS = f"""
SELECT count(*) FROM (
  SELECT data->>'interval_start' AS start,
         lag(data->>'interval_end') OVER (ORDER BY data->>'interval_end') AS before
  FROM meterfabric.records WHERE source = '//node-1/kubelet' AND subject = '{SHOP}/burner') AS intervals
WHERE start > before
"""


@pytest.fixture(scope="module")
def metered(installed: Installed) -> Installed:
    """With the example, as its files say but for the image, the fabric's name and a shorter interval."""
    text = installed.kubectl("kustomize", str(EXAMPLE))
    for pattern, value in (
        (r"image: meterfabric/dataplane\b", f"image: {installed.dataplane}"),
        (r"fabric: metering\.main\b", f"fabric: {METERING}.demo"),
        (r"--interval=60\b", "--interval=5"),
    ):
        text, count = re.subn(pattern, value, text)
        assert count == 1, pattern
    burner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "burner", "namespace": SHOP},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": installed.dataplane, "command": ["python", "-c", BURN]}],
        },
    }
    installed.kubectl("apply", "-f", "-", stdin=text)
    installed.apply(burner)
    installed.kubectl("rollout", "status", "-n", "kube-usage", "daemonset/kube-usage", f"--timeout={SECONDS}s")
    return installed


def intervals(installed: Installed, subject: str) -> int:
    if installed.sql("SELECT to_regclass('meterfabric.records')") == [[""]]:
        return 0
    ((count, _, _),) = installed.sql(SUMS.format(subject))
    return int(count)


def test_what_a_pod_burns_arrives_as_its_usage(metered: Installed) -> None:
    until("usage arrived", SECONDS, lambda: intervals(metered, f"{SHOP}/burner") >= 4)
    ((_, cpu, seconds),) = metered.sql(SUMS.format(f"{SHOP}/burner"))
    # It uses a tenth of a processor, and its interpreter's start.
    assert 0.05 < float(cpu) / float(seconds) < 0.25


def test_an_agent_that_is_restarted_goes_on_where_it_was_and_bills_nothing_twice(metered: Installed) -> None:
    before = intervals(metered, f"{SHOP}/burner")
    agent = metered.names("pod", "kube-usage")[0]
    program = "import os, signal; os.kill(1, signal.SIGTERM)"
    metered.kubectl("exec", "-n", "kube-usage", agent, "-c", "agent", "--", "python", "-c", program)
    until("it goes on", SECONDS, lambda: intervals(metered, f"{SHOP}/burner") >= before + 4)
    found = metered.get("pod", agent, "kube-usage")
    assert found is not None
    assert [each["restartCount"] for each in found["status"]["containerStatuses"]] == [1]
    assert metered.sql(OVERLAPS) == [["0"]]
    assert metered.sql(GAPS) == [["0"]]
