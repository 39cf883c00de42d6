"""The rough estimate of memory beside the memory that a training takes."""

import pytest

from experiments.benchmarks import memory

ROW = {"model": "cnn", "precision": "float32", "batch": 4}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "swin_micro"])
def test_the_estimate_is_within_a_factor_of_three(name):
    found = memory.measure_in_process(name, "float32", 32)
    assert 1 / 3 < found["estimate"] / found["measured"] < 3


def test_the_table_gives_the_ratio_of_estimated_to_measured():
    rows = [
        ROW | {"estimate": 120 * 2**20, "measured": 100 * 2**20},
        ROW | {"estimate": 2**20, "measured": 2**21},
    ]
    text = memory.section(rows, "2 cores")
    assert "| cnn | float32 | 4 | 120 | 100 | 1.20 |" in text
    assert "0.50 to 1.20" in text
