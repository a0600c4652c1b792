"""How durations and amounts of bytes are written: Go's notation and Kubernetes'."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta

NEVER: Final = "Never"

_DURATION: Final = r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+"

Duration = Annotated[str, Meta(max_length=32, pattern=rf"^{_DURATION}$")]
"""Go's notation: 168h, 1h30m, 250ms."""
Expiry = Annotated[str, Meta(max_length=32, pattern=rf"^(Never|{_DURATION})$")]
"""A duration, or Never."""
Quantity = Annotated[str, Meta(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$")]
"""Kubernetes' notation of bytes: 1Gi, 500M, 4096."""
Cores = Annotated[str, Meta(max_length=32, pattern=r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$")]
"""Kubernetes' notation of processors and other numbers: 250m, 2, 0.5."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SCALES: Final = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def seconds(text: str) -> float:
    """Seconds of a duration such as ``1h30m``."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))


def amount(text: str) -> int:
    """Bytes of a quantity such as ``1Gi``. Raises ValueError."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None:
        raise ValueError(f"not a quantity: {text!r}")
    return int(float(found[1]) * _SCALES[found[2]])


def thousandths(text: str) -> int:
    """Thousandths of a number such as ``0.1``, ``250m`` or ``2``."""
    return int(text[:-1]) if text.endswith("m") else round(float(text) * 1_000)
