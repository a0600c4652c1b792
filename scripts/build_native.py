"""Builds the C part of the protocol package: a hook of hatchling, and a command.

    python scripts/build_native.py

leaves the extension module beside its source, where an editable install and a checkout on PYTHONPATH find it. It needs
a C compiler (CC, or cc), Python's headers and OpenSSL's (Debian: gcc, libc6-dev, python3-dev, libssl-dev). It speaks
Python's stable ABI, so one build serves 3.11 and every later release.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1] / "protocol" / "meterfabric_protocol"
SOURCE = PACKAGE / "_merkle.c"
MODULE = PACKAGE / "_merkle.abi3.so"
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden")


def build() -> None:
    """Compile unless what is there is newer than its source. Exits with a sentence where that fails."""
    if MODULE.exists() and MODULE.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    made = MODULE.with_name(f"{MODULE.name}.{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, *FLAGS, f"-I{sysconfig.get_path('include')}", str(SOURCE), "-lcrypto", "-o", str(made)]
    try:
        subprocess.run(command, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        made.unlink(missing_ok=True)
        sys.exit(f"{SOURCE.name} can't be compiled ({error}): it needs a C compiler, Python's and OpenSSL's headers")
    # In one step: a process that imports it meanwhile sees the old one or the new one.
    made.replace(MODULE)


if __name__ == "__main__":
    build()
else:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
        """Compiles before a wheel or an editable install is made; a source distribution takes the source along."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """See hatchling. `version` is "standard" or "editable"."""
            if self.target_name != "wheel":
                return
            build()
            build_data["artifacts"].append(f"/protocol/{PACKAGE.name}/{MODULE.name}")
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"cp311-abi3-{platform}"
