"""What the measurements on a cluster rest on: counters read right, paths, and objects that are what they say."""

from bench.apiserver import all_of, path, summed
from bench.crowd import Crowd
from meterfabric_operator.objects import FABRIC
from meterfabric_protocol.fabric import MeteringFabric, read

PAGE = """
# HELP requests_total of all
# TYPE requests_total counter
requests_total{flow="a",level="low"} 3
requests_total{flow="a",level="high"} 4
requests_total{flow="b",level="low"} 10
requests_total_other{flow="a"} 100
queue 7.5
""".splitlines()


def test_counters_are_summed_by_name_and_labels() -> None:
    assert summed(PAGE, "requests_total", {"flow": "a"}) == 7
    assert summed(PAGE, "requests_total", {"flow": "a", "level": "high"}) == 4
    assert summed(PAGE, "requests_total", {}) == 17
    assert summed(PAGE, "queue", {}) == 7.5
    assert summed(PAGE, "nothing", {}) == 0


def test_paths_are_the_apis() -> None:
    assert path("ServiceAccount", "a") == "/api/v1/namespaces/a/serviceaccounts"
    assert path("FlowSchema", "", "x") == "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/x"
    assert path("Deployment", "a", "b", "status") == "/apis/apps/v1/namespaces/a/deployments/b/status"


async def test_calls_are_all_made() -> None:
    made = []

    def call(number: int) -> object:
        async def note() -> None:
            made.append(number)

        return note

    await all_of(call(number) for number in range(100))  # type: ignore[misc]
    assert sorted(made) == list(range(100))


class Made:
    """Stands where an API server does, and keeps what was made."""

    def __init__(self) -> None:
        self.objects: list[dict[str, object]] = []

    async def create(self, body: dict[str, object]) -> dict[str, object]:
        self.objects.append(body)
        return body


async def test_a_crowds_pods_are_in_the_namespaces_that_joined_its_fabrics() -> None:
    crowd, api = Crowd(20, 100), Made()
    await crowd.make_namespaces(api)  # type: ignore[arg-type]
    joined = {
        body["metadata"]["name"]: body["metadata"]["labels"][FABRIC]  # type: ignore[index]
        for body in api.objects
        if body["kind"] == "Namespace" and body["metadata"]["labels"]  # type: ignore[index]
    }
    places = {body["metadata"]["name"] for body in api.objects if body["kind"] == "Namespace"}  # type: ignore[index]
    api.objects.clear()
    await crowd.make_fabrics(api)  # type: ignore[arg-type]
    read_ones = [read(body) for body in api.objects]
    assert {each.id for each in read_ones if isinstance(each, MeteringFabric)} == set(joined.values())
    assert {each.metadata.namespace for each in read_ones} <= places
    api.objects.clear()
    await crowd.make_pods(api)  # type: ignore[arg-type]
    where = [body["metadata"]["namespace"] for body in api.objects]  # type: ignore[index]
    assert len(where) == 100
    assert {name: where.count(name) for name in where} == dict.fromkeys(joined, 5)
