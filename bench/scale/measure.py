"""How far relays reach: several beside each other, thousands of producers on one, what a connection costs,
and the far side of many small batches."""

from __future__ import annotations

from bench.scale import connected, costs, far, linear


def measure() -> None:
    """Print all of it. Equal shares of the processor are root's to give."""
    linear.measure()
    connected.measure()
    costs.measure()
    far.measure()
