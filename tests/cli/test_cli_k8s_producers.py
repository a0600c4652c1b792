"""What `k8s producers` says of each pod: which lag, and why."""

from typing import Any

import pytest

from meterfabric_cli.in_cluster.producers import Answer, Producer, Waiting, as_text, is_up, metering, producer


def pod(sidecar: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A pod whose sidecar's status this is; without one it has no sidecar."""
    containers = [] if sidecar is None else [{"name": "meterfabric"}]
    statuses = [] if sidecar is None else [{"name": "meterfabric", **sidecar}]
    return {
        "metadata": {"namespace": "shop", "name": "web-0"},
        "spec": {"nodeName": "node-1", "initContainers": containers, **more},
        "status": {"phase": "Running", "initContainerStatuses": statuses},
    }


UP = pod({"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})


def page(records: int = 0, oldest: float = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "accepted": 1234,
        "enrolled": True,
        "enrolment": None,
        "spool": {"used": 1, "quota": 10, "full": False, "failure": None},
        "sinks": {
            "archive": {"pending": {"records": 0, "bytes": 0, "oldest_seconds": 0.0}},
            "billing": {"pending": {"records": records, "bytes": 9, "oldest_seconds": oldest}},
        },
        "relays": {"relay-0": {"up": True, "draining": False, "sinks": ["archive", "billing"]}},
        "logs": [{"sinks": {"billing": {"failures": 0}}}],
        **more,
    }


def state(made: dict[str, Any], answer: Answer | None = None, fabric: str = "metering.main") -> tuple[str, str]:
    found = producer(made, fabric, answer)
    return found.state, found.why


def test_a_pod_whose_records_arrive_is_well() -> None:
    found = producer(UP, "metering.main", page(3, 2.0))
    assert found == Producer(
        "shop", "web-0", "metering.main", "node-1", "delivering", "", 1234, [Waiting("billing", 3, 2.0)]
    )
    assert found.well


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"relays": {}}, "no relay is known"),
        ({"relays": {"relay-0": {"up": False, "sinks": []}}}, "no relay can be reached"),
        ({"relays": {"relay-0": {"up": True, "sinks": ["archive"]}}}, "no relay has a worker of billing"),
        ({"logs": [{"sinks": {"billing": {"failures": 6}}}]}, "billing gave no receipt, 6 times now"),
        ({}, "billing takes less than is sent"),
    ],
)
def test_a_pod_that_lags_says_why(told: dict[str, Any], why: str) -> None:
    assert state(UP, page(42, 94.0, **told)) == ("lagging", why)


def test_a_full_spool_and_a_failing_disk_come_before_a_lag() -> None:
    full = {"used": 10, "quota": 10, "full": True, "failure": None}
    assert state(UP, page(42, 94.0, spool=full)) == ("spool full", "billing takes less than is sent")
    assert state(UP, page(spool=full)) == ("spool full", "records are refused until a sink takes some")
    assert state(UP, page(spool=full | {"failure": "No space left"})) == ("disk fails", "No space left")


def test_a_pod_without_a_certificate_delivers_nothing_and_says_what_the_authority_said() -> None:
    refused = {"enrolled": False, "enrolment": "denied: not admitted"}
    assert state(UP, page(1, 90.0, **refused)) == ("not enrolled", "denied: not admitted")
    assert state(UP, page(1, 1.0, **refused)) == ("starting", "denied: not admitted")


def test_a_sidecar_that_cant_be_asked_is_unknown() -> None:
    assert state(UP, "403 forbidden") == ("unknown", "403 forbidden")
    assert not producer(UP, "", "403 forbidden").well


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"state": {"waiting": {"reason": "PodInitializing"}}}, ("starting", "")),
        ({}, ("cannot start", "Running")),
        (
            {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}},
            ("cannot start", "ErrImagePull: no such image"),
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
            },
            ("sidecar ends", "CrashLoopBackOff, exit code 1"),
        ),
        (
            {"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}},
            ("sidecar ends", "OOMKilled, exit code 137"),
        ),
    ],
)
def test_a_sidecar_that_isnt_up_says_what_the_kubelet_says(status: dict[str, Any], expected: tuple[str, str]) -> None:
    made = pod(status)
    assert not is_up(made)
    assert state(made) == expected


def test_a_pod_without_a_sidecar_says_what_to_do() -> None:
    assert state(pod(hostNetwork=True)) == ("no sidecar", "pods on the host's network get none")
    assert "label it meterfabric.io/fabric=NAMESPACE.NAME" in state(pod(), fabric="")[1]
    assert "delete it, so that it is made anew" in state(pod())[1]


def test_pods_that_have_ended_are_left_out() -> None:
    ended = [{**UP, "status": {"phase": phase}} for phase in ("Succeeded", "Failed")]
    assert metering([UP, *ended]) == [UP]


def test_what_is_wrong_comes_first() -> None:
    well = producer(UP, "metering.main", page(3, 2.0))
    lagging = producer({**UP, "metadata": {"namespace": "shop", "name": "web-1"}}, "metering.main", page(42, 200.0))
    unknown = producer({**UP, "metadata": {"namespace": "shop", "name": "web-2"}}, "", "no answer")
    text = as_text([well, lagging, unknown], False)
    assert text.splitlines()[1:] == [
        "shop/web-1  metering.main  lagging        1,234       42  3m      billing takes less than is sent",
        "shop/web-2  -              unknown            -        -  -       no answer",
        "shop/web-0  metering.main  delivering     1,234        3  2s",
    ]
    assert "\x1b[33mlagging   \x1b[0m" in as_text([lagging, well], True)
