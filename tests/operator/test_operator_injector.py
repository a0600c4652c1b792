"""The injector: what it answers, what it reads for that, and the certificate that it shows, on real sockets."""

import asyncio
import json
import ssl
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from meterfabric_operator.admission import sidecar_values
from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.injector.answer import Injector, Unreadable
from meterfabric_operator.injector.certificate import Certificate
from meterfabric_operator.injector.main import Server
from meterfabric_operator.injector.remembered import FRESH, KNOWN, Remembered
from meterfabric_operator.injector.settings import Settings
from meterfabric_operator.keys.webhook_certificate import SERVING, keep
from meterfabric_operator.objects import FABRIC, Key, Object
from meterfabric_runtime.process import Stop
from meterfabric_runtime.web import WebBounds, serve
from tests.operator.facts import facts
from tests.operator.memory_api import MemoryApi

SETTINGS = Settings(namespace="sys", secret="r-inject", image="image:1")
SECRET = Key("Secret", "sys", "r-inject")
DEMO = Key("MeteringFabric", "metering", "demo")


def put(api: MemoryApi, key: Key, **body: Any) -> None:
    metadata = {"name": key.name, "namespace": key.namespace, **body.pop("metadata", {})}
    api._put("put", key, {"kind": key.kind, "metadata": metadata, **body})


def join(api: MemoryApi, namespace: str, fabric: str) -> None:
    put(api, Key("Namespace", "", namespace), metadata={"labels": {FABRIC: fabric}})


@pytest.fixture
def api() -> MemoryApi:
    """A fabric that is ready, and namespaces that joined it."""
    made = MemoryApi()
    put(made, DEMO, status={"sidecar": sidecar_values.build(facts())})
    for namespace in ("shop", "bazaar", "metering"):
        join(made, namespace, "metering.demo")
    put(made, Key("Namespace", "", "quiet"))
    join(made, "lost", "metering.gone")
    return made


def review(namespace: str = "shop", **spec: Any) -> bytes:
    pod = {"metadata": {"generateName": "web-"}, "spec": {"containers": [], **spec}}
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u-1", "namespace": namespace, "object": pod},
    }
    return json.dumps(body).encode()


async def answered(api: MemoryApi, body: bytes, **settings: Any) -> list[Object]:
    """The patch of an answer; every answer lets the pod be made."""
    injector = Injector(Settings("sys", "r-inject", "image:1", **settings), cast(Cluster, api))
    found = await injector.answer(body)
    assert (found["apiVersion"], found["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response = found["response"]
    assert (response["uid"], response["allowed"]) == ("u-1", True)
    assert ("patch" in response) == ("patchType" in response)
    return cast(list[Object], json.loads(b64decode(response["patch"]))) if "patch" in response else []


async def test_a_pod_of_a_namespace_that_joined_gets_the_sidecar_of_its_fabric(api: MemoryApi) -> None:
    patch = await answered(api, review())
    (sidecar,) = [each["value"] for each in patch if each["path"] == "/spec/initContainers/0"]
    told = {each["name"]: each.get("value") for each in sidecar["env"]}
    assert told["METERFABRIC_SIDECAR_FABRIC"] == "metering.demo"
    assert sidecar["image"] == "image:1"


@pytest.mark.parametrize("namespace", ["quiet", "lost", "metering", "nowhere"])
async def test_who_joined_nothing_that_is_there_or_from_the_fabrics_own_namespace_gets_none(
    api: MemoryApi, namespace: str
) -> None:
    assert await answered(api, review(namespace)) == []


async def test_a_pod_that_has_a_sidecar_gets_no_other(api: MemoryApi) -> None:
    assert await answered(api, review(initContainers=[{"name": "meterfabric"}])) == []
    assert await answered(api, review(hostNetwork=True)) == []


async def test_where_namespaces_are_listed_others_get_none(api: MemoryApi) -> None:
    listed = {"fabrics": ("metering",), "producers": ("shop",)}
    assert await answered(api, review("shop"), **listed)
    assert not await answered(api, review("bazaar"), **listed)
    assert not await answered(api, review("shop"), fabrics=("audit",), producers=("shop",))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"apiVersion": "admission.k8s.io/v1"}', "missing required field `request`"),
        (review().replace(b"admission.k8s.io/v1", b"admission.k8s.io/v2"), "admission.k8s.io/v1 is spoken here"),
        (review(initContainers=["name"]), "request.object.spec.initContainers"),
        (review(terminationGracePeriodSeconds="30"), "terminationGracePeriodSeconds"),
    ],
)
async def test_what_is_no_review_of_a_pod_is_refused_with_its_place(api: MemoryApi, body: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        await Injector(SETTINGS, cast(Cluster, api)).answer(body)


# What is remembered


class Reads:
    """Something to read, a clock, and how often it was read."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False
        self.memory: Remembered[str, str] = Remembered(self.read, lambda: self.now)

    async def read(self, key: str) -> str:
        self.count += 1
        number = self.count
        await self.gate.wait()
        if self.away:
            raise OSError("away")
        return f"{key}{number}"


async def test_one_read_serves_all_who_ask_meanwhile_and_within_a_second() -> None:
    reads = Reads()
    reads.gate.clear()
    asking = [asyncio.create_task(reads.memory.get("a")) for _ in range(9)]
    await asyncio.sleep(0)
    asking.pop().cancel()
    reads.gate.set()
    assert set(await asyncio.gather(*asking)) == {"a1"}
    reads.now = FRESH
    assert await reads.memory.get("a") == "a1"
    reads.now = FRESH + 0.1
    assert await reads.memory.get("a") == "a2"


async def test_what_was_read_serves_while_no_read_succeeds_but_not_for_ever() -> None:
    reads = Reads()
    assert await reads.memory.get("a") == "a1"
    reads.away, reads.now = True, KNOWN
    assert await reads.memory.get("a") == "a1"
    assert reads.memory.recalled == 1
    with pytest.raises(OSError, match="away"):
        await reads.memory.get("b")
    reads.now = KNOWN + 1
    with pytest.raises(OSError, match="away"):
        await reads.memory.get("a")


# The certificate, and the page


class World:
    """An injector that serves on the loopback, its Secret in memory, and a client that trusts what it is told."""

    def __init__(self, api: MemoryApi) -> None:
        self.api = api
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.clock = 0.0
        self.stop = Stop(5.0)
        cluster = cast(Cluster, api)
        self.certificate = Certificate(SETTINGS, cluster, lambda: self.now, lambda: self.clock)
        self.server = Server(Injector(SETTINGS, cluster), self.certificate, self.stop)

    async def renew(self) -> bytes:
        """Another certificate in the Secret; what is to be trusted."""
        made = keep({}, None, b"", ["localhost"], self.now, timedelta(days=1))
        self.api._put(
            "put",
            SECRET,
            {"kind": "Secret", "metadata": {}, "data": {SERVING: b64encode(made.files[SERVING]).decode()}},
        )
        await self.certificate.look()
        return made.bundle


def trusting(bundle: bytes) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cadata=bundle.decode())
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def test_another_certificate_is_shown_without_a_restart_and_no_connection_ends(api: MemoryApi) -> None:
    world = World(api)
    first = await world.renew()
    application = web.Application()
    application.router.add_post("/inject", world.server.inject)
    opened = await serve(application, "127.0.0.1", 0, WebBounds(), tls=world.certificate.context)
    url = f"https://localhost:{opened.port}/inject"
    try:
        async with trusting(first) as old:
            assert (await old.post(url, data=review())).status == 200
            second = await world.renew()
            async with trusting(second) as new:
                assert (await new.post(url, data=review())).status == 200
            async with trusting(first) as late:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await late.post(url, data=review())
            async with trusting(first + second) as both:
                assert (await both.post(url, data=review())).status == 200
            assert opened.connections >= 1
            assert (await old.post(url, data=review())).status == 200
            assert (await old.post(url, data=b"{")).status == 400
            api.away = True
            assert (await old.post(url, data=review())).status == 200, "answered from memory"
            assert (await old.post(url, data=review("unheard-of"))).status == 503
    finally:
        await opened.close()


async def test_a_replica_is_ready_while_it_can_answer(api: MemoryApi) -> None:
    world = World(api)
    assert "holds no certificate yet" in world.server.unready()[0]
    await world.renew()
    assert world.server.unready() == []
    api.away, world.clock = True, 61.0
    await world.certificate.look()
    assert "couldn't be read" in world.server.unready()[0]
    api.away = False
    await world.certificate.look()
    assert world.server.unready() == []
    world.now += timedelta(days=1)
    assert "ran out" in world.server.unready()[0]
    world.stop.request("SIGTERM")
    assert world.server.unready() == ["stopping"]
    assert world.server.unhealthy() == []


async def test_a_secret_that_is_damaged_changes_nothing(api: MemoryApi) -> None:
    world = World(api)
    await world.renew()
    served = world.certificate.served
    for data in ({SERVING: "AAAA"}, {SERVING: "no base64"}, {}):
        api._put("put", SECRET, {"kind": "Secret", "metadata": {"name": "r-inject"}, "data": data})
        await world.certificate.look()
    assert world.certificate.served == served is not None
