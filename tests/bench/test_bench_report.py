"""How measurements are told."""

import pytest

from bench.report import number, quantile, say


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([5.0], 0.99, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([float(value) for value in range(1, 101)], 0.99, 99.0),
        ([float(value) for value in range(1, 101)], 1.0, 100.0),
        ([3.0, 1.0, 2.0], 0.0, 1.0),
    ],
)
def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed(
    values: list[float], q: float, expected: float
) -> None:
    assert quantile(values, q) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(1234567.8, "1,234,568"), (1234, "1,234"), (4.5678, "4.57"), (0.012345, "0.0123")]
)
def test_a_number_has_the_digits_that_count(value: float, expected: str) -> None:
    assert number(value) == expected


def test_a_measurement_is_one_line_of_name_value_and_unit(capsys: pytest.CaptureFixture[str]) -> None:
    say("ratio_vs_nats", 4.125)
    say("accept_p50", 0.75, "ms", "2 records")
    assert capsys.readouterr().out == "ratio_vs_nats: 4.12\naccept_p50: 0.75 ms (2 records)\n"
