"""Builds the programs of a cluster from their Go modules, once: they are kept in the cache, by version."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster import paths, versions
from tests.cluster.versions import Component

Say = Callable[[str], None]


class BuildFailed(Exception):
    """A program that the Go toolchain didn't build; the message holds what it said."""


def build(version: str, say: Say, jobs: int = 0) -> dict[str, Path]:
    """Where each program of a cluster is, by its name; those that are missing are built.

    `jobs`: packages compiled at a time; 0 for one on each processor. Raises BuildFailed, versions.UnknownVersion.
    """
    wanted = versions.components(version)
    lacking = sum(not path.exists() for component in wanted for path in _places(component).values())
    if lacking:
        paths.binaries().mkdir(parents=True, exist_ok=True)
        with (paths.binaries() / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for component in wanted:
                _build_component(component, jobs or os.cpu_count() or 1, say)
    return {name: path for component in wanted for name, path in _places(component).items()}


def go_environment(jobs: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of `go`: static programs, nothing but what go.sum holds, `jobs` packages at a time."""
    return {
        "GOTOOLCHAIN": "local",
        **environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": f"-p={jobs} -mod=readonly -trimpath -buildvcs=false",
        "GOMAXPROCS": str(jobs),
    }


def _places(component: Component) -> dict[str, Path]:
    return {name: paths.binaries() / component.folder / name for name in component.programs}


def _build_component(component: Component, jobs: int, say: Say) -> None:
    for name, place in _places(component).items():
        if place.exists():
            continue
        if shutil.which("go") is None:
            raise BuildFailed(f"{name} is built with Go 1.26, and there is no `go` in PATH: `make setup` brings one")
        place.parent.mkdir(exist_ok=True)
        unfinished = place.with_name(f".{name}")
        began = time.monotonic()
        command = ["go", "build", "-tags", component.tags, "-ldflags", component.flags, "-o", str(unfinished)]
        done = subprocess.run(
            [*command, component.programs[name]],
            cwd=component.source,
            env=go_environment(jobs, os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildFailed(f"{component.folder}: {name} wasn't built:\n{done.stdout[-4000:]}")
        unfinished.rename(place)
        say(f"built {name} of {component.folder} in {time.monotonic() - began:.0f} s")
