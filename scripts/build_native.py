"""Builds what is in C: a hook of hatchling, and a command.

    python scripts/build_native.py

leaves each extension module beside its source, where an editable install and a checkout on PYTHONPATH find it. It needs
a C compiler (CC, or cc), Python's headers and OpenSSL's (Debian: gcc, libc6-dev, python3-dev, libssl-dev). They speak
Python's stable ABI, so one build serves 3.11 and every later release.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Each with the libraries that it needs.
SOURCES = {
    ROOT / "protocol" / "meterfabric_protocol" / "_merkle.c": ("-lcrypto",),
    ROOT / "sidecar" / "meterfabric_sidecar" / "_places.c": (),
}
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden")


def build() -> list[Path]:
    """The modules, compiled unless what is there is newer than its source. Exits with a sentence where that fails."""
    return [_compile(source, libraries) for source, libraries in SOURCES.items()]


def _compile(source: Path, libraries: tuple[str, ...]) -> Path:
    module = source.with_suffix(".abi3.so")
    if module.exists() and module.stat().st_mtime > source.stat().st_mtime:
        return module
    made = module.with_name(f"{module.name}.{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    include = f"-I{sysconfig.get_path('include')}"
    try:
        subprocess.run([*compiler, *FLAGS, include, str(source), *libraries, "-o", str(made)], check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        made.unlink(missing_ok=True)
        sys.exit(f"{source.name} can't be compiled ({error}): it needs a C compiler, Python's and OpenSSL's headers")
    # In one step: a process that imports it meanwhile sees the old one or the new one.
    made.replace(module)
    return module


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
            build_data["artifacts"] += [f"/{module.relative_to(ROOT)}" for module in build()]
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"cp311-abi3-{platform}"
