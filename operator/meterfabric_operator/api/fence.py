"""No write leaves a replica that may no longer act, however long it stood still after it had decided to write.

A process can be stopped at any instruction and go on minutes later, in the middle of a look at a fabric, with the
answer to its last request at hand and the next one to send, while another replica has long been acting. So each request
is held against the lease where it gets its connection, the last moment before its bytes are written, also when the
client sends it once more by itself. What the kernel had been given before is sent without us, and so comes in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import TraceConfig

_READS = ("GET", "HEAD", "OPTIONS")


class NotActing(Exception):
    """Something was to be written by a replica that doesn't hold the lease."""


def fence(may: Callable[[], bool]) -> TraceConfig:
    """For an aiohttp session whose writes raise NotActing while `may` is false."""

    async def begun(_: Any, context: Any, request: Any) -> None:
        context.writes = request.method not in _READS

    async def connected(_: Any, context: Any, __: Any) -> None:
        if context.writes and not may():
            raise NotActing("this replica acts no longer, so it doesn't write what it had decided")

    trace = TraceConfig()
    trace.on_request_start.append(begun)
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return trace
