"""What the operator's replicas wrote, as the API server put it down: nobody wrote who wasn't to act."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.cluster.cluster import Cluster
from tests.kubernetes.installed import RELEASE, SYSTEM

_OPERATOR = f"{RELEASE}-operator"


@dataclass(frozen=True)
class Write:
    """One request that succeeded. Times as the API server writes them, which sort as they passed."""

    pod: str
    what: str
    received: str
    done: str
    holder: str | None
    """Who is to hold the operator's lease from `done` on; None where the request is about something else."""


def writes(kubernetes: Cluster) -> Iterator[Write]:
    """All of the operator's replicas since the cluster began."""
    for line in (kubernetes.plan.control.folder / "logs" / "audit.log").read_text().splitlines():
        event = json.loads(line)
        pod = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [""])[0]
        if not pod.startswith(f"{_OPERATOR}-") or event["responseStatus"]["code"] >= 300:
            continue
        about = event["objectRef"]
        is_lease = (about["resource"], about.get("namespace")) == ("leases", SYSTEM)
        yield Write(
            pod,
            f"{event['verb']} {about['resource']} {about.get('namespace', '')}/{about.get('name', '')}",
            event["requestReceivedTimestamp"],
            event["stageTimestamp"],
            event["requestObject"]["spec"]["holderIdentity"] if is_lease else None,
        )


def writes_by_others(kubernetes: Cluster) -> list[Write]:
    """Those that came to the API server when another replica held the lease, or nobody."""
    found = list(writes(kubernetes))
    changes = sorted((each for each in found if each.holder is not None), key=lambda each: each.done)
    wrong, held = [], ""
    for each in sorted((each for each in found if each.holder is None), key=lambda each: each.received):
        while changes and changes[0].done <= each.received:
            held = changes.pop(0).holder or ""
        if each.pod != held:
            wrong.append(each)
    return wrong
