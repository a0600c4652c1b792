"""Keys and certificates of a local fabric: made once, kept, renewed before they run out."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates

from meterfabric_cli.errors import CommandError
from meterfabric_cli.local_fabric.identities import Identities, make_folders
from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.objects import Objects, read_objects
from meterfabric_protocol.identity import TrustBundle, verify_chain
from meterfabric_protocol.names import cosigner
from tests.cli.test_cli_fabric_file import EXAMPLE, FABRIC, SINK


@pytest.fixture
def laid_out(tmp_path: Path) -> tuple[Layout, Objects]:
    layout, objects = Layout(tmp_path / "run"), read_objects(EXAMPLE)
    make_folders(layout, ["billing", "archive"], ["relay-0"])
    return layout, objects


def test_each_sink_has_a_key_and_a_certificate_that_the_bundle_vouches_for(laid_out: tuple[Layout, Objects]) -> None:
    layout, objects = laid_out
    identities = Identities(layout, objects)
    bundle = TrustBundle(layout.trust.read_bytes())
    for name in ("billing", "archive"):
        identity = verify_chain(layout.sink_chain(name).read_bytes(), bundle, datetime.now(UTC), role="sink")
        assert identity.name == cosigner("metering.demo", name)
        assert layout.sink_key(name).stat().st_mode & 0o077 == 0
    assert identities.producer.fabric == "metering.demo"


def test_a_second_start_finds_everything_as_it_was(laid_out: tuple[Layout, Objects]) -> None:
    layout, objects = laid_out
    first = Identities(layout, objects)
    kept = {path: path.read_bytes() for path in layout.folder.rglob("*") if path.is_file()}
    second = Identities(layout, objects)
    assert (second.producer, second.relay_key) == (first.producer, first.relay_key)
    assert {path: path.read_bytes() for path in layout.folder.rglob("*") if path.is_file()} == kept


def test_a_certificate_is_renewed_once_a_third_of_its_time_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "fabric.yaml"
    # Certificates begin five minutes before now, so of this one a third is gone already.
    file.write_text(FABRIC + "spec: {identity: {certificateLifetime: 10m}}\n" + SINK)
    layout = Layout(tmp_path / "run")
    make_folders(layout, ["billing"], [])
    identities = Identities(layout, read_objects(file))
    before = layout.sink_chain("billing").read_bytes()
    identities.look()
    after = layout.sink_chain("billing").read_bytes()
    assert before != after
    old, new = (load_pem_x509_certificates(chain)[0] for chain in (before, after))
    assert old.public_key() == new.public_key()


def test_a_key_that_others_may_read_is_refused(laid_out: tuple[Layout, Objects]) -> None:
    layout, objects = laid_out
    Identities(layout, objects)
    os.chmod(layout.sink_key("billing"), 0o644)
    with pytest.raises(CommandError, match="others may read it"):
        Identities(layout, objects)


def test_a_folder_keeps_its_pods_name(laid_out: tuple[Layout, Objects]) -> None:
    layout, objects = laid_out
    Identities(layout, objects)
    pod = layout.sidecar / "pod.json"
    pod.write_text(json.dumps({"pod": "another", "uid": "u-1"}))
    assert Identities(layout, objects).producer.pod == "another"
    pod.write_text("{}")
    with pytest.raises(CommandError, match=r"pod\.json"):
        Identities(layout, objects)
