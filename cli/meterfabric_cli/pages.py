"""The JSON pages of components on this machine."""

from __future__ import annotations

import http.client
import json
from typing import Any

_SECONDS = 2.0
_BYTES = 4 << 20


def fetch(port: int, path: str) -> tuple[int, Any] | None:
    """Status and content of a page on 127.0.0.1; None where nobody answers or it isn't JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read(_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
