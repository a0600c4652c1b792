"""Whether what clients were told holds: every record that was accepted is in each sink once, or accounted for."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from meterfabric_sink.evidence import open_evidence
from tests.cluster.wait import until
from tests.e2e.ground import ARCHIVE, BILLING, Ground
from tests.e2e.producers import Lists, pod_of
from tests.kubernetes.installed import METERING, SECONDS

GIVEN_UP = ("expired", "damaged", "lost", "abandoned", "missing")
"""The fates of a record that isn't there and of which somebody says so."""
_SHOWN = 5


@dataclass(frozen=True)
class SinkVerdict:
    """Of one sink: counts of records, and what is wrong, for people. `fates`: what its audit says."""

    sink: str
    held: int
    lacking: int
    fates: Mapping[str, int]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Of all. `wrong`: besides what is wrong in a sink."""

    sinks: tuple[SinkVerdict, ...]
    accepted: int
    wrong: tuple[str, ...] = ()
    committed: Mapping[str, float] = field(default_factory=dict, repr=False)
    """When PostgreSQL committed each record, by this machine's clock."""

    @property
    def all_wrong(self) -> list[str]:
        """Everything; nothing where all is well."""
        return [*self.wrong, *(f"{each.sink}: {line}" for each in self.sinks for line in each.wrong)]


def judged(sink: str, lists: Lists, held: Iterable[str], audit: Mapping[str, Any]) -> SinkVerdict:
    """Hold the names of the records in a sink, and what its audit says, against the clients' lists."""
    counts = Counter(held)
    fates: Counter[str] = Counter()
    given_up: Counter[str] = Counter()
    for producer in audit["producers"]:
        records = {fate: count for fate, count in producer["records"].items() if count}
        fates.update(records)
        given_up[producer["pod"]] += sum(records.get(fate, 0) for fate in GIVEN_UP)
    lacking = Counter(pod_of(each) for each in lists.accepted if each not in counts)
    wrong = []
    if not audit["whole"]:
        wrong.append(f"the audit isn't whole: {audit['findings'][:_SHOWN]}")
    if twice := [each for each, count in counts.items() if count > 1]:
        wrong.append(f"{len(twice)} records are there more than once, such as {twice[:_SHOWN]}")
    if foreign := [each for each in counts if each not in lists.asked]:
        wrong.append(f"{len(foreign)} records are there that no client sent, such as {foreign[:_SHOWN]}")
    if lost := {pod: count for pod, count in lacking.items() if count > given_up[pod]}:
        shown = [each for each in lists.accepted if each not in counts and pod_of(each) in lost][:_SHOWN]
        wrong.append(f"{sum(lost.values())} accepted records are not there and nobody says why, such as {shown}")
    if fates["pending"]:
        wrong.append(f"{fates['pending']} records are still pending")
    return SinkVerdict(sink, counts.total(), lacking.total(), dict(fates), tuple(wrong))


def reach(ground: Ground, lists: Lists) -> Verdict:
    """The verdict once both sinks have been asked."""
    rows = ground.installed.sql(
        "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM meterfabric.records"
    )
    committed = {name: float(at) for name, at in rows}
    sinks = (
        judged(BILLING, lists, [name for name, _ in rows], audited(ground, BILLING)),
        judged(ARCHIVE, lists, _archived(ground), audited(ground, ARCHIVE)),
    )
    return Verdict(sinks, len(lists.accepted), (), committed)


def await_delivery(ground: Ground, lists: Lists, seconds: float = 5 * SECONDS) -> None:
    """Wait until both sinks have what was accepted, or long enough: some may be given up, which the verdict tells."""
    wanted = set(lists.accepted)

    def there() -> bool:
        if wanted - set(_archived(ground)):
            return False
        return not wanted - {name for (name,) in ground.installed.sql("SELECT id FROM meterfabric.records")}

    with suppress(TimeoutError):
        until("all that was accepted is there", seconds, there)


def closed(ground: Ground) -> bool:
    """Whether both sinks have heard every log to its end."""
    waiting = "SELECT count(*) FROM {} WHERE NOT closed OR size < head_size"
    with open_evidence(f"file:{ground.archive}") as evidence:
        ((archive,),) = evidence.query(waiting.format("logs"))
    return not archive and ground.installed.sql(waiting.format("meterfabric.logs")) == [["0"]]


def _archived(ground: Ground) -> list[str]:
    with open_evidence(f"file:{ground.archive}") as evidence:
        leaves = [leaf for log in evidence.logs() for batch in evidence.leaves(log.origin) for leaf in _records(batch)]
    return [json.loads(leaf)["id"] for leaf in leaves]


def _records(held: Any) -> list[bytes]:
    return [each for each in held.leaves if each is not None] if held.batch.kind == "records" else []


def audited(ground: Ground, sink: str) -> dict[str, Any]:
    """What `kubectl meterfabric audit` says of a sink. Raises AssertionError where it can't say anything."""
    program = "import sys; from meterfabric_cli.main import kubectl_plugin; sys.exit(kubectl_plugin())"
    environment = os.environ | {"KUBECONFIG": str(ground.installed.kubernetes.plan.kubeconfig)}
    command = [sys.executable, "-c", program, "audit", f"{METERING}/{sink}", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
