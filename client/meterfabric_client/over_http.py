"""The way to the sidecar over HTTP: one connection that is kept, one batch at a time, the standard library only."""

import http
import http.client
import json
from typing import Any

from .transport import PATH, Accepted, Address, Again, Answer, Batch, Outcome, Waker, judge

_HEADERS = {"Content-Type": "application/x-ndjson"}
_ANSWER_BYTES = 64 * 1024


class HttpTransport:
    """See `transport.Transport`. `wait` blocks for the answer, at most `request` seconds."""

    def __init__(self, address: Address, request: float, batch_bytes: int) -> None:
        self.waker = Waker()
        self.trouble = ""
        self._address = address
        self._request = request
        self._batch_bytes = batch_bytes
        self._connection: http.client.HTTPConnection | None = None
        self._batch: Batch | None = None

    def allowance(self) -> int:
        return 0 if self._batch is not None else self._batch_bytes

    @property
    def in_flight(self) -> int:
        return 0 if self._batch is None else 1

    def submit(self, batch: Batch) -> None:
        self._batch = batch

    def wait(self, timeout: float | None) -> list[Answer]:
        if self._batch is None:
            self.waker.wait(timeout)
            return []
        batch, self._batch = self._batch, None
        self.waker.clear()
        return [(batch, self._post(batch))]

    def close(self) -> None:
        self._drop()
        self.waker.close()

    def _post(self, batch: Batch) -> Outcome:
        kept = self._connection is not None
        try:
            return self._exchange(batch)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            # A kept connection may have been closed as idle; that says nothing about the sidecar.
            if not kept or isinstance(error, TimeoutError):
                return _trouble(error)
        try:
            return self._exchange(batch)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            return _trouble(error)

    def _exchange(self, batch: Batch) -> Outcome:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=self._request)
        connection = self._connection
        connection.request("POST", self._address.path + PATH, batch.body, _HEADERS)
        response = connection.getresponse()
        text = response.read(_ANSWER_BYTES + 1)
        if response.will_close or not response.isclosed():
            self._drop()
        if response.status == http.HTTPStatus.NO_CONTENT:
            return Accepted()
        return judge(response.status, _problem(text), _seconds(response.getheader("Retry-After")))

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _trouble(error: Exception) -> Again:
    return Again(f"{type(error).__name__}: {error}".rstrip(": "))


def _problem(text: bytes) -> dict[str, Any]:
    """Problem details, or what else was said in their place."""
    try:
        problem = json.loads(text)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": text[:200].decode("utf-8", "replace")}


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3); a date is not looked at."""
    return float(header) if header is not None and header.isdecimal() else None
