"""The JSON pages of components on this machine."""

from __future__ import annotations

import http.client
import json
from typing import Any

_SECONDS = 2.0
_BYTES = 4 << 20


READY = "ready"


def health(port: int) -> str:
    """What the process whose pages are there says of itself: READY, or why it isn't."""
    found = fetch(port, "/readyz")
    if found is None:
        return "no answer"
    status, content = found
    reasons = content.get("reasons") if isinstance(content, dict) else None
    return READY if status == 200 else "; ".join(map(str, reasons)) if reasons else f"not ready ({status})"


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
