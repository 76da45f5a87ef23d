"""A figure is judged by its median, or by its ratio where it stands beside another."""

from __future__ import annotations

import pytest

from tests.bench.rows import Row


def test_one_slow_run_does_not_move_a_median() -> None:
    row = Row("sends", "ms", [10.0, 11.0, 500.0], [20.0, 22.0, 24.0], "a peer")

    assert row.median == 11.0
    assert row.ratio == 0.5


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        pytest.param(Row("", "s", [19.0], most=20), True, id="below its bound"),
        pytest.param(Row("", "s", [21.0], most=20), False, id="above its bound"),
        pytest.param(Row("", "s", [60.0], [100.0], least=0.7), False, id="too little of the other"),
        pytest.param(Row("", "s", [80.0], [100.0], least=0.7), True, id="enough of the other"),
        pytest.param(Row("", "s", [80.0]), None, id="without a bound"),
    ],
)
def test_a_bound_is_about_the_ratio_where_there_is_another(row: Row, holds: bool | None) -> None:
    assert row.holds is holds
