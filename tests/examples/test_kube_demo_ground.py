"""Which cluster the demo takes, and what it says where it can't."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kube_demo import ground
from kube_demo.terminal import DemoFailed

DEMO = Path(__file__).resolve().parents[2] / "examples" / "kube-usage" / "demo.py"


def run(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMO), "--dir", str(tmp_path / "demo"), *words]
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_kubeconfig_that_happens_to_be_set_is_not_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "production"))
    shown = "import os; print(os.environ.get('KUBECONFIG'))"
    assert ground.start(tmp_path).ask(sys.executable, "-c", shown) == "None\n"


def test_the_current_context_without_a_registry_is_refused_with_what_to_write(tmp_path: Path) -> None:
    done = run(tmp_path, "--cluster", "current", "up")
    assert done.returncode == 1
    assert "REGISTRY=registry.example/me" in done.stderr


def test_without_a_current_context_it_is_said_how_to_have_one(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("kubectl", "helm"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = run(tmp_path, "--cluster", "current", "--registry", "r.example/me", "--tag", "1", "up", PATH=path)
    assert done.returncode == 1
    assert "a current context" in done.stderr


def test_who_is_not_root_is_told_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DemoFailed, match="root, to build images here; or build dataplane, operator, postgres"):
        ground.current("r.example/me", "")


def test_a_machine_that_can_run_no_cluster_is_told_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "_CLUSTER", (sys.executable, "-c", "import sys; sys.exit('it lacks root')"))
    with pytest.raises(DemoFailed, match=r"(?s)it lacks root.*CLUSTER=current REGISTRY=.*make demo-local"):
        ground.check()
