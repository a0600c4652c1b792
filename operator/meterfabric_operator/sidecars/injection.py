"""Whether admission acts: a pod is made on trial, by a dry run that keeps nothing, and looked at for its sidecar.

That the policy, its binding, or the webhook stand in the cluster proves nothing: an expression that fails, an API
server that doesn't serve the kind, or a certificate that ran out all leave pods without a sidecar, and nobody is told.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from meterfabric_operator import names
from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.children.pod import USER, container_security
from meterfabric_operator.objects import INJECT, Object
from meterfabric_operator.settings import Settings

Verdict = Literal["Proven", "Inactive", "Refused", "Untried", "Nowhere"]

SOON: Final = 2.0
"""After a change: it takes the API server a second or two to act on a new policy or binding."""
_PATIENCE: Final = 5
"""So many trials in a row after a change may fail before it is said that injection doesn't act."""
AGAIN: Final = 20.0
"""How often it is tried while it doesn't act."""


@dataclass(frozen=True)
class Proof:
    """What the last trial showed, in which namespace, and what the API server said where it refused one."""

    verdict: Verdict
    namespace: str = ""
    said: str = ""
    again: float = 0.0
    """Seconds until another trial is due."""
    at: str = ""
    """When it was, by the server's clock, as objects say when they were made."""


@dataclass
class _Known:
    state: str
    tried: float
    proof: Proof
    failures: int
    place: int


def trial_pod(settings: Settings, namespace: str) -> Object:
    """A pod that asks for a sidecar and that nobody can object to: Pod Security "restricted", requests and limits."""
    amounts = {"cpu": "1m", "memory": "1Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"meterfabric-trial-{secrets.token_hex(4)}",
            "namespace": namespace,
            "labels": {INJECT: "true"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "meter",
                    "image": settings.image,
                    "resources": {"requests": amounts, "limits": amounts},
                    "securityContext": container_security(),
                }
            ],
        },
    }


class Injection:
    """Remembers of each fabric what its last trial showed."""

    def __init__(self, cluster: Cluster, settings: Settings, clock: Callable[[], float]) -> None:
        """``clock``: monotonic seconds."""
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def known(self, fabric: str) -> Proof:
        """As the last trial showed."""
        held = self._known.get(fabric)
        return held.proof if held is not None else Proof("Untried")

    def forget(self, fabric: str) -> None:
        """The fabric is gone."""
        self._known.pop(fabric, None)

    async def prove(self, fabric: str, namespaces: Sequence[str], state: str) -> Proof:
        """As known, or by a new trial where `state`, a digest of what injection depends on, or time asks for one.

        Each trial that succeeds is followed by one in the next namespace. Raises OSError where the server can't be
        reached.
        """
        if not namespaces:
            self.forget(fabric)
            return Proof("Nowhere")
        held = self._known.get(fabric)
        if held is None:
            held = self._known[fabric] = _Known(state, 0.0, Proof("Untried"), 0, 0)
        elif held.state != state:
            held.state, held.failures = state, 0
        elif (left := held.tried + held.proof.again - self._clock()) > 0:
            return replace(held.proof, again=left)
        found = await self.trial(namespaces[held.place % len(namespaces)])
        held.tried = self._clock()
        if found.verdict == "Proven":
            held.failures, held.place = 0, held.place + 1
            held.proof = replace(found, again=self._settings.resync)
            return held.proof
        held.failures += 1
        if held.failures < _PATIENCE and held.proof.verdict in ("Untried", "Proven"):
            held.proof = replace(held.proof, again=SOON)
        else:
            held.proof = replace(found, again=AGAIN)
        return held.proof

    async def trial(self, namespace: str) -> Proof:
        """Make a pod there on trial. Raises OSError where the server can't be reached."""
        try:
            made = await self._cluster.create(trial_pod(self._settings, namespace), dry_run=True)
        except ApiError as error:
            return Proof("Refused", namespace, error.message)
        injected = any(each["name"] == names.SIDECAR for each in made["spec"].get("initContainers") or [])
        at = str(made["metadata"].get("creationTimestamp", ""))
        return Proof("Proven" if injected else "Inactive", namespace, at=at)
