"""What every reconciliation is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.api.events import Events
from meterfabric_operator.keys.secret_keeper import SecretKeeper
from meterfabric_operator.objects import Key
from meterfabric_operator.reconciling.applying import Applier
from meterfabric_operator.settings import Settings
from meterfabric_operator.sidecars.injection import Injection
from meterfabric_operator.sidecars.missing import Missing
from meterfabric_operator.sidecars.replacing import Replacer
from meterfabric_operator.watching.observed import Observed


@dataclass(frozen=True)
class Context:
    """The way to the API server, what watching told, and time. `later`: look at a key again in so many seconds."""

    settings: Settings
    cluster: Cluster
    observed: Observed
    applier: Applier
    secrets: SecretKeeper
    injection: Injection
    missing: Missing
    replacer: Replacer
    events: Events
    now: Callable[[], datetime]
    later: Callable[[Key, float], None]
