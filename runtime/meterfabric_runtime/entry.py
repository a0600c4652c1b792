"""A component's command line: `--config FILE`, and the environment over it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from meterfabric_runtime import logs
from meterfabric_runtime.process import EXIT_SETTINGS, Stop, run
from meterfabric_runtime.settings import SettingsError, load

S = TypeVar("S")


def enter(
    component: str, kind: type[S], main: Callable[[S, Stop], Awaitable[None]], grace: Callable[[S], float]
) -> None:
    """Fill ``kind`` from the command line's file and the environment, run ``main``, exit with its code."""
    parser = argparse.ArgumentParser(
        prog=f"meterfabric-{component}",
        description=f"The {component} of a Meterfabric; METERFABRIC_{component.upper()}_* go over the settings file.",
    )
    parser.add_argument("--config", type=Path, help="settings file (JSON)")
    arguments = parser.parse_args()
    try:
        settings = load(kind, component, file=arguments.config, environ=os.environ)
        logs.configure(component, str(getattr(settings, "log_level", "info")))
    except (SettingsError, ValueError) as error:
        print(f"meterfabric-{component}: {error}", file=sys.stderr)
        sys.exit(EXIT_SETTINGS)

    async def start(stop: Stop) -> None:
        await main(settings, stop)

    sys.exit(run(start, grace=grace(settings)))
