import os
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_runtime.curve import CurveKeys, from_user_id, from_z85, to_user_id, to_z85
from meterfabric_runtime.files import SecretFileError

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS)
def test_a_key_reads_back_from_each_of_its_forms(key: bytes) -> None:
    assert from_z85(to_z85(key)) == key
    assert from_z85(to_z85(key).decode()) == key
    assert from_user_id(to_user_id(key)) == key


@given(st.binary(max_size=60) | st.binary(min_size=40, max_size=40))
def test_what_is_no_z85_key_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"Z85"):
        from_z85(text)


@pytest.mark.parametrize("text", ["", "00", "0" * 63, "0" * 66, "G" * 64, "A" * 64, " " + "0" * 64])
def test_what_is_no_user_id_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_user_id(text)


def test_a_pair_is_made_once_and_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "curve.key"
    made = CurveKeys.load_or_create(path)
    assert CurveKeys.load_or_create(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["curve.key"]
    assert zmq.curve_public(to_z85(made.secret)) == to_z85(made.public)


def test_a_secret_is_not_shown() -> None:
    keys = CurveKeys.generate()
    assert repr(keys.secret) not in repr(keys)
    assert to_z85(keys.secret).decode() not in repr(keys.server())
    assert to_z85(keys.secret).decode() not in repr(keys.client(keys.public))


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "curve.key"
    CurveKeys.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(SecretFileError, match="mode 0640"):
        CurveKeys.load_or_create(path)


@pytest.mark.parametrize("content", [b"", b"short\n", b"~" * 40, os.urandom(70_000)])
def test_a_file_that_holds_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "curve.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretFileError):
        CurveKeys.load_or_create(path)
    assert path.read_bytes() == content
