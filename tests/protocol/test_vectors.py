"""The committed vectors are those that the script makes, so a format can't change without somebody seeing it."""

import pytest

from tests.vectors import make


@pytest.mark.parametrize("name", make.files())
def test_a_vector_file_is_what_the_script_makes(name: str) -> None:
    assert (make.FOLDER / name).read_bytes() == make.files()[name]
