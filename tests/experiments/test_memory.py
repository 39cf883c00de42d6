"""The memory plan is near the memory that a training uses."""

import pytest

from experiments.benchmarks import memory

ROW = {"model": "cnn", "precision": "float32", "batch": 4}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "swin_micro"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_plan_is_near_the_measured_peak(name, precision):
    found = memory.measure_in_process(name, precision, 32)
    assert 0.9 < found["plan"] / found["peak"] < 1.3


def test_the_table_gives_the_ratio_of_planned_to_measured():
    rows = [ROW | {"plan": 120 * 2**20, "peak": 100 * 2**20}, ROW | {"plan": 2**20, "peak": 2**21}]
    text = memory.section(rows, "2 cores")
    assert "| cnn | float32 | 4 | 120 | 100 | 1.20 |" in text
    assert "0.50 to 1.20" in text
    assert "1 of 2 are within 25 %" in text
