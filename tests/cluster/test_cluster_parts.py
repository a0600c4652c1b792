"""What of a test cluster can be seen without one."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster import config, images, keys, lock, paths, preflight, register, versions
from tests.cluster.plan import BadPlan, make_plan
from tests.cluster.register import Entry, Process


def test_the_default_and_the_two_versions_before_are_locked() -> None:
    assert versions.known()[0] == versions.DEFAULT
    assert [versions.minor(version) for version in versions.known()[:3]] == [37, 36, 35]


@pytest.mark.parametrize("version", versions.known())
def test_every_component_has_sums_and_a_folder_of_its_version(version: str) -> None:
    for component in versions.components(version):
        assert "helper" in component.folder or (component.source / "go.sum").exists()
        assert component.folder == version or component.folder.startswith(component.source.name)


def test_a_version_that_is_not_locked_is_named_with_what_to_do() -> None:
    with pytest.raises(
        versions.UnknownVersion, match=r"1\.2\.3: only 1\.37\.2, .* `python -m tests\.cluster lock 1\.2\.3`"
    ):
        versions.components("1.2.3")


def test_a_go_mod_pins_every_staged_module_to_its_own_version() -> None:
    upstream = "module k8s.io/kubernetes\n\ngo 1.26.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n"
    text = lock.go_mod("1.37.2", upstream)
    assert "\ngo 1.26.0\n" in text
    assert "require k8s.io/kubernetes v1.37.2\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.37.2\n" in text
    assert "\tk8s.io/kubernetes/cmd/kubelet\n" in text


@pytest.mark.parametrize("name", ["", "Upper", "under_score", "-", "a" * 31, "../up"])
def test_a_name_that_namespaces_can_not_have_is_refused(name: str) -> None:
    with pytest.raises(BadPlan, match="can't name a cluster"):
        make_plan(name)


@pytest.mark.parametrize("nodes", [0, 100])
def test_as_many_nodes_as_there_are_addresses(nodes: int) -> None:
    with pytest.raises(BadPlan, match="from 1 to 99"):
        make_plan("dev", nodes=nodes)


def test_a_folder_that_nodes_hide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/lib/somewhere")
    with pytest.raises(BadPlan, match="set XDG_CACHE_HOME"):
        make_plan("dev")


def test_machines_share_no_name_address_or_subnet() -> None:
    machines = make_plan("dev", nodes=99).machines
    for values in (
        {each.namespace for each in machines},
        {each.address for each in machines},
        {each.pods for each in machines},
        {each.folder for each in machines},
    ):
        assert len(values) == 100


def test_a_kubeconfig_names_files_of_the_clusters_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = make_plan("dev")
    written = json.loads(config.kubeconfig(plan, "admin", "https://127.0.0.1:1"))
    assert written["current-context"] == "dev"
    assert Path(written["users"][0]["user"]["client-key"]).parent == plan.keys
    assert plan.kubeconfig.is_relative_to(tmp_path)


def test_keys_are_for_their_owner_only_and_openssl_takes_the_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = make_plan("dev", nodes=2)
    keys.make(plan, datetime.now(UTC))
    assert plan.keys.stat().st_mode & 0o077 == 0
    certificates = sorted(set(plan.keys.glob("*.crt")) - {plan.keys / "ca.crt"})
    assert {"admin.crt", "kube-apiserver.crt", "node-2.crt"} <= {path.name for path in certificates}
    subprocess.run(
        ["openssl", "verify", "-CAfile", plan.keys / "ca.crt", *certificates], check=True, capture_output=True
    )


def test_an_image_is_a_layout_whose_digests_hold(tmp_path: Path) -> None:
    program = tmp_path / "helper"
    program.write_bytes(b"\x7fELF")
    with tarfile.open(fileobj=io.BytesIO(images.archive("example/helper:1", program))) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    entry = json.loads(files["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "example/helper:1"
    manifest = json.loads(files["blobs/sha256/" + entry["digest"].removeprefix("sha256:")])
    assert all(f"blobs/sha256/{each['digest'].removeprefix('sha256:')}" in files for each in manifest["layers"])


def test_preflight_without_root_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (lack,) = preflight.lacks()
    assert lack.what == "root"
    assert "run as root" in lack.remedy


def test_preflight_says_when_other_clusters_leave_a_kubelet_nothing_to_watch_files_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert preflight.free_inotify_instances(0) == 0
    monkeypatch.setattr(preflight, "free_inotify_instances", lambda most: 3)
    remedies = {lack.what: lack.remedy for lack in preflight.elementary()}
    remedy = remedies["inotify instances: 3 are free of the 24 that a node takes"]
    assert remedy == "sysctl -w fs.inotify.max_user_instances=1024, or take another cluster down"


def test_preflight_names_the_package_of_each_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name: None if name == "runc" else f"/usr/bin/{name}")
    remedies = {lack.what: lack.remedy for lack in preflight.lacks()}
    assert remedies["the program runc"] == "apt-get install runc, or your system's name of it"


def test_a_cluster_is_abandoned_once_its_owner_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "REGISTER", tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = Process(other.pid, register._started(other.pid) or 0)
        register.write(Entry("test", "1.37.2", 1, "folder", owner))
        assert not register.read("test").abandoned  # type: ignore[union-attr]
    assert register.read("test").abandoned  # type: ignore[union-attr]
    assert not Entry("dev", "1.37.2", 1, "folder").abandoned
    register.strike("test")
    assert register.read("test") is None


def test_a_folder_that_a_reboot_left_is_of_an_abandoned_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "REGISTER", tmp_path / "register")
    monkeypatch.setattr(paths, "clusters", lambda: tmp_path)
    register.make_folder(tmp_path / "elsewhere")
    register.make_folder(tmp_path / "left")
    (tmp_path / "left" / "boot_id").write_text("an earlier one\n")
    abandoned = {entry.name for entry in register.entries() if entry.abandoned}
    assert "left" in abandoned
    assert "elsewhere" not in abandoned


def test_the_lock_of_a_name_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "REGISTER", tmp_path)
    with register.locked("dev"):
        assert [path.name for path in tmp_path.iterdir()] == ["dev.lock"]
    assert not list(tmp_path.iterdir())
