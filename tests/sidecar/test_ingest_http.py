import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from meterfabric_protocol.limits import Limits
from meterfabric_runtime.web import WebBounds, serve
from meterfabric_sidecar.ingest.http import HOST, PATH, HttpBounds, HttpIngest
from meterfabric_sidecar.ingest.intake import Conflict, Full, Refused, TooLarge, Unavailable
from tests.sidecar.memory_intake import MemoryIntake, event

WAIT = 10.0
ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"


class Served:
    def __init__(self, intake: MemoryIntake, ingest: HttpIngest, port: int, session: aiohttp.ClientSession) -> None:
        self.intake = intake
        self.ingest = ingest
        self.port = port
        self.session = session
        self.url = f"http://{HOST}:{port}{PATH}"

    async def post(
        self, body: Any, content_type: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            names["Content-Type"] = content_type
        skip = () if content_type is not None else ("Content-Type",)
        async with asyncio.timeout(WAIT):
            async with self.session.post(self.url, data=body, headers=names, skip_auto_headers=skip) as response:
                text = await response.read()
        return response.status, json.loads(text) if text else {}, response


@asynccontextmanager
async def serving(
    bounds: HttpBounds | None = None, limits: Limits | None = None, web_bounds: WebBounds | None = None
) -> AsyncIterator[Served]:
    intake = MemoryIntake()
    ingest = HttpIngest(intake, limits or Limits(), bounds or HttpBounds())
    app = web.Application()
    ingest.add_to(app)
    server = await serve(app, HOST, 0, web_bounds or WebBounds(linger_seconds=0.05))
    try:
        async with aiohttp.ClientSession() as session:
            yield Served(intake, ingest, server.port, session)
    finally:
        await server.close()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition never held")


@pytest.mark.parametrize(
    ("content_type", "body", "kept"),
    [
        (ONE, event(1), [event(1)]),
        ("application/cloudevents+json; charset=UTF-8", event(1), [event(1)]),
        (BATCH, b"[" + event(1) + b"," + event(2) + b"]", [event(1), event(2)]),
        ("application/json", b"\n [" + event(1) + b"]", [event(1)]),
        ("application/json", b' {\n"specversion":"1.0","id":"a","source":"s","type":"t"}\n', None),
        ("Application/JSON", event(1), [event(1)]),
        (LINES, event(1) + b"\n" + event(2) + b"\n", [event(1), event(2)]),
        (BATCH, b"[]", []),
        (LINES, b"", []),
    ],
)
async def test_each_form_is_taken_and_answered_204(
    served: Served, content_type: str, body: bytes, kept: list[bytes] | None
) -> None:
    status, problem, _ = await served.post(body, content_type)
    assert (status, problem) == (204, {})
    assert served.intake.records == (
        [b'{ "specversion":"1.0","id":"a","source":"s","type":"t"}'] if kept is None else kept
    )


async def test_binary_mode_makes_a_record_of_headers_and_body(served: Served) -> None:
    status, _, _ = await served.post(
        b'{"seconds": 1.50}',
        "application/json",
        ce_specversion="1.0",
        ce_id="a",
        ce_source="/s",
        ce_type="cpu",
        ce_subject="caf%C3%A9",
    )
    assert status == 204
    [record] = served.intake.records
    assert json.loads(record) == {
        "specversion": "1.0",
        "id": "a",
        "source": "/s",
        "type": "cpu",
        "subject": "café",
        "datacontenttype": "application/json",
        "data": {"seconds": 1.5},
    }
    assert b"1.50" in record


async def test_binary_mode_without_data_needs_no_content_type(served: Served) -> None:
    status, _, _ = await served.post(None, None, ce_specversion="1.0", ce_id="a", ce_source="/s", ce_type="cpu")
    assert status == 204
    assert "data" not in json.loads(served.intake.records[0])


async def test_an_attribute_sent_twice_is_refused(served: Served) -> None:
    async with served.session.post(
        served.url,
        headers=[("ce-specversion", "1.0"), ("ce-id", "a"), ("ce-id", "b"), ("ce-source", "s"), ("ce-type", "t")],
        skip_auto_headers=("Content-Type",),
    ) as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["field"]) == (400, "id")
    assert served.intake.records == []


async def test_one_bad_record_refuses_the_whole_batch_and_is_named(served: Served) -> None:
    bad = b'{"specversion":"1.0","id":"x","source":"s","type":7}'
    status, problem, response = await served.post(event(1) + b"\n" + bad + b"\n" + event(2), LINES)
    assert status == 400
    assert response.content_type == "application/problem+json"
    assert (problem["status"], problem["index"], problem["field"], problem["value"]) == (400, 1, "type", "7")
    assert problem["type"].endswith("/invalid-record")
    assert problem["title"]
    assert problem["detail"]
    assert served.intake.calls == 0


async def test_a_record_over_the_limit_is_413_with_limit_and_value() -> None:
    async with serving(limits=Limits(record_bytes=200)) as served:
        status, problem, _ = await served.post(event(1) + b"\n" + event(2, subject="s" * 300), LINES)
    assert (status, problem["index"], problem["limit"]) == (413, 1, 200)
    assert "bytes" in problem["value"]


@pytest.mark.parametrize(
    ("content_type", "seen"),
    [
        ("text/plain", "text/plain"),
        (None, "no Content-Type"),
        ("application/cloudevents+avro", "avro"),
        ("application/cloudevents+json; charset=utf-16", "utf-16"),
    ],
)
async def test_another_media_type_or_charset_is_415_with_what_is_taken(
    served: Served, content_type: str | None, seen: str
) -> None:
    status, problem, response = await served.post(event(1), content_type)
    assert status == 415
    assert seen in problem["detail"]
    assert ONE in problem["accepted"]
    assert LINES in response.headers["Accept"]


async def test_a_compressed_body_is_415_and_never_inflated(served: Served) -> None:
    status, problem, response = await served.post(b"\x1f\x8b", ONE, Content_Encoding="gzip")
    assert (status, problem["accepted"]) == (415, ["identity"])
    assert response.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("refusal", "status", "retry_after"),
    [
        (Full(2.5), 429, "3"),
        (Full(0.01), 429, "1"),
        (Unavailable(4, "stopping"), 503, "4"),
        (Conflict(3, "/s", "a"), 409, None),
        (TooLarge("quota is smaller than that", 10, 20), 413, None),
        (Refused("no"), 400, None),
        (RuntimeError("bug"), 500, None),
    ],
)
async def test_what_the_intake_says_reaches_the_sender(
    served: Served, refusal: Exception, status: int, retry_after: str | None
) -> None:
    served.intake.refusal = refusal
    got, problem, response = await served.post(event(1), ONE)
    assert (got, problem["status"]) == (status, status)
    assert response.headers.get("Retry-After") == retry_after
    assert problem.get("retry_after") == (None if retry_after is None else int(retry_after))
    assert "bug" not in json.dumps(problem)
    assert served.ingest.tally.refused == {status: 1}


async def test_a_conflict_names_the_record_and_its_id(served: Served) -> None:
    served.intake.refusal = Conflict(3, "/s", "a")
    _, problem, _ = await served.post(event(1), ONE)
    assert (problem["index"], problem["field"], problem["value"]) == (3, "id", "/s a")


async def test_a_body_announced_too_large_is_refused_unread() -> None:
    async with serving(HttpBounds(body_bytes=100)) as served, asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection(HOST, served.port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {LINES}\r\nContent-Length: 101\r\n\r\n"
        writer.write(head.encode())
        assert b" 413 " in await reader.readline()
        assert b"Connection: close" in await reader.read()
        writer.close()


async def test_a_chunked_body_is_bounded_too() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with serving(HttpBounds(body_bytes=10_000)) as served:
        status, problem, _ = await served.post(chunks(), LINES)
        assert (status, problem["limit"]) == (413, 10_000)
        assert served.ingest.bytes_in_use == 0


async def test_a_chunked_body_within_the_limit_is_taken(served: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield event(1)[:20]
        yield event(1)[20:]

    assert (await served.post(chunks(), ONE))[0] == 204
    assert served.intake.records == [event(1)]


async def test_a_refusal_comes_before_the_body_where_the_sender_asks_first() -> None:
    async with serving(HttpBounds(body_bytes=100)) as served, asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection(HOST, served.port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        writer.write(head.encode() + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert b" 415 " in await reader.readline()
        writer.close()


async def test_a_sender_that_asks_first_is_told_to_go_on(served: Served) -> None:
    async with asyncio.timeout(WAIT):
        status, _, _ = await served.post(event(1), ONE, Expect="100-continue")
    assert status == 204


async def test_a_body_that_dribbles_is_408_and_hung_up_on() -> None:
    async with serving(HttpBounds(body_seconds=0.05)) as served, asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection(HOST, served.port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {ONE}\r\nContent-Length: 50\r\n\r\n{{"
        writer.write(head.encode())
        assert b" 408 " in await reader.readline()
        await reader.read()
        writer.close()
        assert served.intake.calls == 0


async def test_a_sender_that_leaves_in_the_middle_leaves_nothing(served: Served) -> None:
    async with asyncio.timeout(WAIT):
        _, writer = await asyncio.open_connection(HOST, served.port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {ONE}\r\nContent-Length: 500\r\n\r\n{{"
        writer.write(head.encode())
        await until(lambda: served.ingest.bytes_in_use == 500)
        writer.close()
        await until(lambda: served.ingest.bytes_in_use == 0)
    assert served.intake.calls == 0


async def test_bodies_beyond_the_memory_for_them_wait_and_then_are_503() -> None:
    async with serving(HttpBounds(bodies_bytes=100, patience=0.05)) as served:
        served.intake.gate.clear()
        first = asyncio.create_task(served.post(event(1), ONE))
        await until(lambda: served.intake.calls == 1)
        status, problem, response = await served.post(event(2), ONE)
        assert (status, response.headers["Retry-After"]) == (503, "1")
        assert problem["type"].endswith("/busy")
        served.intake.gate.set()
        assert (await first)[0] == 204
        assert served.ingest.bytes_in_use == 0


async def test_an_intake_that_hangs_is_503_and_its_records_may_still_be_kept() -> None:
    async with serving(HttpBounds(accept_seconds=0.05)) as served:
        served.intake.gate.clear()
        assert (await served.post(event(1), ONE))[0] == 503
        served.intake.gate.set()
        await until(lambda: served.intake.records == [event(1)])


async def test_another_method_or_path_is_a_problem_too(served: Served) -> None:
    async with served.session.get(served.url) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert (await response.json(content_type="application/problem+json"))["status"] == 405
    async with served.session.post(served.url + "/x") as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_what_was_accepted_is_counted(served: Served) -> None:
    body = event(1) + b"\n" + event(2)
    await served.post(body, LINES)
    tally = served.ingest.tally
    assert (tally.messages, tally.records, tally.bytes) == (1, 2, len(body))
