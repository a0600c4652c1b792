"""Before a release is uninstalled: the operator is stopped, then what it made and nothing else would remove is removed.

Secrets, trust bundles, volumes, and what people wrote stay: old records are proved by them, and installed again the
operator goes on with them.
"""

from __future__ import annotations

import asyncio
import logging

from meterfabric_operator.api.cluster import ApiError, Cluster, connect
from meterfabric_operator.api.kinds import children, kinds
from meterfabric_operator.objects import FINALIZER, MANAGED_BY, MANAGER, Key, Object, key_of
from meterfabric_operator.settings import Settings
from meterfabric_runtime.entry import enter
from meterfabric_runtime.process import Stop

log = logging.getLogger(__name__)

_KEPT = "identity"
_LOOK_EVERY = 1.0
_GRACE = 5.0


async def sweep(cluster: Cluster, settings: Settings) -> None:
    """Do it; doing it again does no harm. Raises as Cluster does."""
    if settings.deployment:
        await _stop_operator(cluster, Key("Deployment", settings.namespace, settings.deployment))
    for kind in children(settings):
        for body in await _all(cluster, settings, kind, f"{MANAGED_BY}={MANAGER}"):
            if body["metadata"]["labels"].get("app.kubernetes.io/component") != _KEPT:
                key = key_of({**body, "kind": kind})
                log.info("removed", extra={"object": str(key)})
                await cluster.delete(key)
    for body in await _all(cluster, settings, "MeteringFabric", ""):
        finalizers = body["metadata"].get("finalizers", [])
        if FINALIZER in finalizers:
            kept = [each for each in finalizers if each != FINALIZER]
            version = body["metadata"]["resourceVersion"]
            patch = {"metadata": {"finalizers": kept, "resourceVersion": version}}
            await cluster.patch(key_of({**body, "kind": "MeteringFabric"}), patch)


async def _stop_operator(cluster: Cluster, key: Key) -> None:
    """Left running, it would make again what is removed."""
    if await cluster.get(key) is None:
        return
    made = await cluster.patch(key, {"spec": {"replicas": 0}})
    chosen = ",".join(f"{name}={value}" for name, value in made["spec"]["selector"]["matchLabels"].items())
    # A Deployment counts no pod that is stopping, and it acts until it has stopped.
    while await cluster.list("Pod", chosen, key.namespace):
        await asyncio.sleep(_LOOK_EVERY)


async def _all(cluster: Cluster, settings: Settings, kind: str, selector: str) -> list[Object]:
    """All of a kind where we serve; none where the API server doesn't know the kind (any more)."""
    places = settings.namespaces if cluster.kinds[kind].namespaced else ()
    try:
        return [body for place in places or ("",) for body in await cluster.list(kind, selector, place)]
    except ApiError as error:
        if error.status == 404:
            return []
        raise


async def _main(settings: Settings, stop: Stop) -> None:
    cluster = await connect(kinds(settings.admission_api))
    work = asyncio.ensure_future(sweep(cluster, settings))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        work.cancel()
        stopping.cancel()
        await cluster.close()


def main() -> None:
    """The command `meterfabric-operator-sweep`, which the chart runs."""
    enter("operator", Settings, _main, lambda _: _GRACE)


if __name__ == "__main__":
    main()
