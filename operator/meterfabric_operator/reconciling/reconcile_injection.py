"""Where the webhook injects: its certificate kept, the API server told which, and nothing of the other way left."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import datetime, timedelta

from meterfabric_operator.api.cluster import ApiError
from meterfabric_operator.keys.identity import IdentityError, data_of
from meterfabric_operator.keys.webhook_certificate import Kept, keep, overlap
from meterfabric_operator.objects import GROUP, MANAGED_BY, MANAGER, Key, Object
from meterfabric_operator.reconciling.context import Context

_SINCE = f"{GROUP}/serving-since"
"""Annotation of the Secret: from when on its certificate is served."""


async def reconcile_injection(context: Context, key: Key) -> None:
    """Look at the configuration of the webhook and at its Secret. Raises as Cluster does; it is tried again then."""
    part = context.settings.webhook
    if key.name != part.configuration:
        return
    await _remove_bindings(context)
    configuration = await context.cluster.get(key)
    if configuration is None:
        return
    secret = Key("Secret", context.settings.namespace, part.secret)
    held = await context.cluster.get(secret)
    bundles = [each["clientConfig"].get("caBundle", "") for each in configuration["webhooks"]]
    lifetime = timedelta(seconds=part.lifetime)
    kept = keep(_files(held), _since(held), b64decode(bundles[0]), part.hosts, context.now(), lifetime)
    told = b64encode(kept.bundle).decode()
    if any(each != told for each in bundles):
        entries = [{"name": each["name"], "clientConfig": {"caBundle": told}} for each in configuration["webhooks"]]
        version = configuration["apiVersion"]
        await context.cluster.apply(
            {"apiVersion": version, "kind": key.kind, "metadata": {"name": key.name}, "webhooks": entries}
        )
    await _write(context, secret, held, kept)
    context.later(key, min(context.settings.resync, overlap(lifetime).total_seconds() / 4))


async def _write(context: Context, key: Key, held: Object | None, kept: Kept) -> None:
    if held is not None and _files(held) == kept.files and _since(held) == kept.since:
        return
    data = {name: b64encode(content).decode() for name, content in kept.files.items()}
    since = {_SINCE: kept.since.isoformat()}
    if held is None:
        metadata = {"name": key.name, "namespace": key.namespace, "annotations": since}
        await context.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
        return
    metadata = {**held["metadata"], "annotations": {**held["metadata"].get("annotations", {}), **since}}
    metadata.pop("managedFields", None)
    await context.cluster.replace(key, {**held, "metadata": metadata, "data": data})


async def _remove_bindings(context: Context) -> None:
    """Those that the operator made while the policy injected. Where namespaces are listed it made none."""
    if context.settings.namespaces:
        return
    kind = "MutatingAdmissionPolicyBinding"
    try:
        found = await context.cluster.list(kind, f"{MANAGED_BY}={MANAGER}")
    except ApiError as error:
        if error.status != 404:
            raise
        return
    for each in found:
        await context.cluster.delete(Key(kind, "", each["metadata"]["name"]))


def _files(secret: Object | None) -> dict[str, bytes]:
    try:
        return data_of(secret)
    except IdentityError:
        return {}


def _since(secret: Object | None) -> datetime | None:
    text = ((secret or {"metadata": {}})["metadata"].get("annotations") or {}).get(_SINCE, "")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
