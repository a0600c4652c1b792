"""Records over HTTP: CloudEvents 1.0 (HTTP protocol binding 1.0.2) at POST /api/v1/events on 127.0.0.1.

204 means that every record of the request is durable. Any other answer means that none of them was kept by it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import HttpVersion11, web

from meterfabric_protocol.limits import Limits
from meterfabric_protocol.record import RecordError

from . import forms, problem
from .budget import Budget
from .intake import Intake, Refused
from .problem import Problem
from .tally import Tally

log = logging.getLogger(__name__)

PATH: Final = "/api/v1/events"
HOST: Final = "127.0.0.1"
"""The one address of ingest: nobody outside the pod speaks to it, so it asks for no password."""

_UNREADABLE: Final = (aiohttp.ClientError, web.RequestPayloadError, ConnectionError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class HttpBounds:
    """Limits of HTTP ingest beside the server's own. Times in seconds, sizes in bytes."""

    body_bytes: int = 8 * 1024 * 1024
    bodies_bytes: int = 16 * 1024 * 1024  # of all requests at once
    patience: float = 5.0  # how long a request waits for its share of bodies_bytes
    body_seconds: float = 10.0  # how long a body may take to come
    accept_seconds: float = 30.0  # how long the intake may take


class HttpIngest:
    """Answers the requests; `add_to` puts it into an application, which the caller serves on HOST."""

    def __init__(self, intake: Intake, limits: Limits, bounds: HttpBounds) -> None:
        self._intake = intake
        self._limits = limits
        self._bounds = bounds
        self._budget = Budget(bounds.bodies_bytes)
        self.tally = Tally()

    @property
    def bytes_in_use(self) -> int:
        """Bytes of bodies that are set aside now, at most `bodies_bytes`."""
        return self._budget.used

    def add_to(self, app: web.Application) -> None:
        """Register the path, and problem details for every error under /api/."""
        app.middlewares.append(_as_problems)
        app.router.add_post(PATH, self._post, expect_handler=self._expect)

    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        """Answer `Expect: 100-continue` (RFC 9110 section 10.1.1) before a body that would be refused is sent."""
        found = self._form(request)
        if isinstance(found, Problem):
            return self._refuse(request, found)
        if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # aiohttp takes what was written for the answer's beginning otherwise.
            request.writer.output_size = 0
        return None

    async def _post(self, request: web.Request) -> web.StreamResponse:
        form = self._form(request)
        if isinstance(form, Problem):
            return self._refuse(request, form)
        announced = request.content_length
        size = self._bounds.body_bytes if announced is None else announced
        try:
            async with self._budget.share(size, self._bounds.patience):
                return await self._take(request, form)
        except TimeoutError:
            busy = problem.problem("busy", "Too much at once", 503, "other requests fill the memory for bodies", 1)
            return self._refuse(request, busy)

    def _form(self, request: web.Request) -> str | Problem:
        """The form of a request, or what can be said against it from its head alone."""
        length = request.content_length
        if length is not None and length > self._bounds.body_bytes:
            return problem.too_large("the body is too large; send it in parts", self._bounds.body_bytes, length)
        coding = request.headers.get("Content-Encoding", "identity").lower()
        if coding != "identity":
            return problem.unsupported(f"Content-Encoding {coding[:40]!r}: bodies are taken as they are", ("identity",))
        return forms.form(request.headers)

    async def _take(self, request: web.Request, form: str) -> web.StreamResponse:
        body = await self._body(request)
        if isinstance(body, Problem):
            return self._refuse(request, body)
        try:
            split = forms.split(form, request.headers, body, self._limits)
            if split.keys:
                # Shielded: an answer that comes too late, or to nobody, must not tear records out of a commit.
                async with asyncio.timeout(self._bounds.accept_seconds):
                    await asyncio.shield(self._intake.accept(split))
        except RecordError as error:
            return self._refuse(request, problem.of_record(error))
        except Refused as refusal:
            return self._refuse(request, problem.of_refusal(refusal))
        except TimeoutError:
            detail = "not durable in time; the same records may be sent again"
            return self._refuse(request, problem.problem("unavailable", "The disk is slow", 503, detail, 1))
        except Exception:
            log.exception("intake failed")
            return self._refuse(request, problem.internal())
        self.tally.accepted(len(split.keys), len(body))
        return web.Response(status=204)

    async def _body(self, request: web.Request) -> bytes | Problem:
        """The body, bounded in size and time whatever the head announced."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._bounds.body_seconds):
                while chunk := await request.content.readany():
                    size += len(chunk)
                    if size > self._bounds.body_bytes:
                        detail = "the body is too large; send it in parts"
                        return problem.too_large(detail, self._bounds.body_bytes, size)
                    chunks.append(chunk)
        except TimeoutError:
            detail = f"the body did not come whole in {self._bounds.body_seconds:g} s"
            return problem.problem("timeout", "The body is slow", 408, detail)
        except _UNREADABLE as error:
            return problem.problem("bad-body", "The body can't be read", 400, f"{type(error).__name__}: {error}")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _refuse(self, request: web.Request, found: Problem) -> web.Response:
        self.tally.refused[found.status] += 1
        return _response(found, hang_up=not request.content.at_eof())


def _response(found: Problem, *, hang_up: bool = False) -> web.Response:
    response = web.Response(status=found.status, body=found.encode(), content_type=problem.MEDIA_TYPE)
    if found.retry_after is not None:
        response.headers["Retry-After"] = str(found.retry_after)
    if found.status == 415:
        # RFC 9110 section 15.5.16: which of the two tells the sender what was wrong.
        response.headers["Accept-Encoding" if found.accepted == ("identity",) else "Accept"] = ", ".join(found.accepted)
    if hang_up:
        response.force_close()
    return response


@web.middleware
async def _as_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A wrong path or method under /api/ is answered as a problem too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if not request.path.startswith("/api/") or error.status < 400:
            raise
        found = problem.problem("http", error.reason, error.status, f"{request.method} {request.path[:80]}")
        response = _response(found)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
