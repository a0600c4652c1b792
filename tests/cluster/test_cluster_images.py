"""What of the images of the Dockerfile can be seen without building one."""

import os
from pathlib import Path

import pytest

from tests.cluster import builder, paths, product


def test_the_images_are_the_stages_that_say_who_runs_them() -> None:
    assert sorted(product.targets()) == ["dataplane", "operator"]


def test_an_image_that_the_dockerfile_does_not_make_is_refused_by_what_it_does() -> None:
    with pytest.raises(builder.ImageFailed, match=r"the Dockerfiles make .*, not wheel"):
        product.image("wheel", print)


def test_the_users_of_images_are_numbers_which_kubernetes_can_tell_from_root() -> None:
    lines = (product.TREE / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["65532:65532"] * len(product.targets())


def test_a_build_sees_the_sources_and_nothing_that_is_made_of_them() -> None:
    seen = {str(path.relative_to(product.TREE)) for path in product.context()}
    assert {"pyproject.toml", "LICENSE", "sidecar/meterfabric_sidecar/main.py"} <= seen
    assert not [path for path in seen if path.endswith((".pyc", ".so")) or path.startswith(("tests", ".git"))]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with a Dockerfile whose images are there as soon as they are asked for."""
    (tmp_path / "Dockerfile").write_text(
        "ARG DEBIAN=debian:bookworm-slim\nFROM ${DEBIAN} AS dataplane\nUSER 65532:65532\n"
    )
    (tmp_path / ".dockerignore").write_text("*\n!source\n!not-there\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("pass\n")
    monkeypatch.setattr(product, "TREE", tmp_path)
    monkeypatch.setattr(paths, "images", lambda: tmp_path / "images")
    monkeypatch.setattr(builder, "build", lambda tree, target, name, archive, say: archive.write_text(name))
    return tmp_path


def test_an_image_is_built_again_only_when_what_it_is_made_of_has_changed(tree: Path) -> None:
    first = product.image("dataplane", print)
    first.archive.write_text("kept")
    (tree / "README").write_text("not part of it")
    assert product.image("dataplane", print) == first
    assert first.archive.read_text() == "kept"
    (tree / "source" / "main.py").write_text("import this\n")
    second = product.image("dataplane", print)
    assert second.name != first.name
    assert second.archive.read_text() == second.name


def test_the_last_few_archives_of_an_image_are_kept(tree: Path) -> None:
    made = []
    for number in range(product.KEPT + 1):
        (tree / "source" / "main.py").write_text(f"print({number})\n")
        made.append(product.image("dataplane", print).archive)
        os.utime(made[-1], (number, number))
    assert [path.exists() for path in made] == [False] + product.KEPT * [True]


def test_pips_settings_reach_a_build_and_the_environment_stands_over_files() -> None:
    listed = (
        ":env:.cert='/etc/ssl/ours.pem'\n:env:.index-url='https://packages.example/simple'\n"
        "global.index-url='https://other.example/simple'\nglobal.cert='/etc/ssl/theirs.pem'\nlist.format='columns'\n"
    )
    assert builder.pip_configuration(listed) == (
        "[global]\nindex-url = https://packages.example/simple\ncert = /run/secrets/certificates\n",
        Path("/etc/ssl/ours.pem"),
    )


def test_a_folder_of_this_machine_is_not_told_to_a_build() -> None:
    assert builder.pip_configuration(":env:.find-links='/srv/wheels'\n") == ("[global]\n", None)


def test_apts_sources_of_the_suite_are_taken_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    for name, text in {
        "debian.sources": "Types: deb\nSuites: bookworm bookworm-updates\n",
        "database.list": "deb https://packages.example/apt bookworm-db main\n",
        "old.list.save": "deb https://packages.example/debian bookworm main\n",
    }.items():
        (folder / name).write_text(text)
    assert builder.apt_sources(tmp_path, "bookworm") == [folder / "debian.sources"]


def test_the_dockerfile_begins_with_a_debian_that_can_be_made_here() -> None:
    assert builder.base_image((product.TREE / "Dockerfile").read_text()).endswith("/debian:bookworm-slim")
    with pytest.raises(builder.ImageFailed, match="no line"):
        builder.base_image("FROM scratch\n")
