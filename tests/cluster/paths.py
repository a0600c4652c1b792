"""Where things are on the machine: what is built, what a running cluster keeps, and the register of clusters."""

import os
from pathlib import Path

REGISTER = Path("/run/meterfabric-clusters")
"""A file for each cluster of this machine. It is gone after a reboot, as the clusters are."""


def cache() -> Path:
    """The folder of ours in the user's cache (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meterfabric"


def binaries() -> Path:
    """A folder for each component and version that was built."""
    return cache() / "k8s"


def clusters() -> Path:
    """A folder for each cluster: its kubeconfig, keys, logs and disks."""
    return cache() / "clusters"


def images() -> Path:
    """A file for each image that was built, and the layers they are built of."""
    return cache() / "images"
