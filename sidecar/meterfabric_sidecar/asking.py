"""Where this sidecar asks for its certificate: an authority on this machine, or the API of its cluster."""

from __future__ import annotations

from meterfabric_runtime.authority import Authority
from meterfabric_runtime.authority_desk import LocalAuthorityClient
from meterfabric_runtime.settings import SettingsError
from meterfabric_sidecar.cluster_authority import ClusterAuthority
from meterfabric_sidecar.settings import Settings


def authority_of(settings: Settings) -> Authority:
    """The authority that the settings name. Raises SettingsError where they name none."""
    if settings.kubernetes is not None:
        return ClusterAuthority(settings.kubernetes, settings.namespace, settings.trust)
    if settings.authority is not None:
        return LocalAuthorityClient(settings.authority)
    raise SettingsError("settings", "authority", "neither authority nor kubernetes is given; one of them is needed")
