"""What a component imports is what its extra installs: no database driver in a sidecar, and nothing missing."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What each extra is the installation of.
PARTS = {
    "protocol": [],
    "sidecar": ["sidecar"],
    "relay": ["relay"],
    "sink": ["sink", "postgres"],
    "operator": ["operator"],
    "client": ["client"],
    "cli": ["cli", "sidecar", "relay", "sink", "postgres", "client", "k8s"],
}
# The runtime is shared, and each of its modules needs what the components that use it have.
SHARED = {"runtime": ["sidecar", "relay", "sink", "operator"]}


def name_of(requirement: str) -> str:
    """The distribution's name in a requirement, normalised (PEP 503)."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def installed_by(extras: list[str]) -> set[str]:
    """The distributions that `meterfabric[extras]` asks for."""
    names = set()
    for requirement in requires("meterfabric") or []:
        extra = re.search(r"extra == ['\"]([a-z0-9]+)['\"]", requirement)
        if extra is None or extra[1] in extras:
            names.add(name_of(requirement))
    return names


def imported_by(folder: Path) -> set[str]:
    """The top-level modules, neither ours nor the standard library's, that a folder's modules import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return {name for name in names if name not in sys.stdlib_module_names and not name.startswith("meterfabric_")}


def distributions(modules: set[str]) -> dict[str, set[str]]:
    """The distributions that hold each module, normalised."""
    known = packages_distributions()
    return {module: {name_of(distribution) for distribution in known.get(module, [module])} for module in modules}


@pytest.mark.parametrize("part", PARTS)
def test_a_component_imports_only_what_its_extra_installs(part: str) -> None:
    allowed = installed_by(PARTS[part])
    missing = {module for module, names in distributions(imported_by(ROOT / part)).items() if not names & allowed}
    assert not missing, f"{part}/ imports {sorted(missing)}, which meterfabric{PARTS[part]} does not install"


@pytest.mark.parametrize("part", SHARED)
def test_shared_code_imports_only_what_every_component_installs(part: str) -> None:
    imported = distributions(imported_by(ROOT / part))
    for extra in SHARED[part]:
        allowed = installed_by([extra])
        missing = {module for module, names in imported.items() if not names & allowed}
        assert not missing, f"{part}/ imports {sorted(missing)}, which meterfabric[{extra}] does not install"


@pytest.mark.parametrize("extra", ["sidecar", "relay", "client"])
@pytest.mark.parametrize("heavy", ["psycopg", "kubernetes", "kopf", "duckdb", "rich", "pyyaml"])
def test_what_runs_in_every_pod_stays_small(extra: str, heavy: str) -> None:
    assert heavy not in installed_by([extra])
