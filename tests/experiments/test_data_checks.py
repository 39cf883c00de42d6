"""Benchmarks of the data checks: near-duplicates and flags on phantoms, and the scaling search."""

import sys

import numpy as np
import pytest
from drawing import ALTERATIONS

from experiments.benchmarks import data_checks, search_scaling


def cells(lines):
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]


def test_altered_phantoms_are_counted():
    rows = {row[0]: row[1:] for row in cells(data_checks.altered_phantoms(2))}
    for name in ALTERATIONS:
        assert rows[name][:2] == ["2", "2"], name


def test_flags_on_phantoms_are_counted():
    rows = {row[0]: row[1:] for row in cells(data_checks.flags_on_phantoms(2))}
    for name, (flag, _) in data_checks.MARKS.items():
        assert rows[name][0] == flag
        assert rows[name][1].endswith("of 2)")
    assert rows["unmarked"][1] == "none"


def test_sensitivity_and_specificity_of_a_flag():
    images = [({"text"}, {"text"}), ({"text"}, set()), (set(), {"caliper"})]
    sensitivity, specificity = data_checks._rates("text", images)
    assert sensitivity.startswith("0.500 (")
    assert specificity.startswith("1.000 (")
    assert data_checks._rates("dual_view", images)[0] == "no such image"


def test_repeats_among_patterns_are_found(monkeypatch):
    def patterns(count, *, seed):
        coarse = np.random.default_rng(seed).uniform(40, 200, (count, 8, 8))
        return np.kron(coarse, np.ones((8, 8))).astype(np.uint8)

    monkeypatch.setattr(search_scaling, "patterns", patterns)
    found = search_scaling.measure(200)
    assert (found["images"], found["repeated"], found["found"], found["others"]) == (200, 2, 2, 0)
    for unit, expected in (("seconds", "120"), ("minutes", "2.0")):
        lines = search_scaling.scaling_table(
            [found | {"processor_seconds": 120.0}], unit=unit, others="others"
        )
        assert cells(lines)[1][:2] == ["200", expected]


def test_the_steps_before_the_search_are_timed(tmp_path, write_image):
    for finding in ("benign", "malignant", "normal"):
        write_image(tmp_path / finding / f"{finding} (1).png")
    spent = search_scaling.milliseconds_an_image(tmp_path)
    assert list(spent) == ["reading and hashing", "fingerprint", "flags"]
    assert min(spent.values()) > 0


@pytest.mark.parametrize("arguments", [["--sizes", "few"], ["--sizes", "1000", "99"]])
def test_sizes_must_be_numbers_that_hold_a_repeat(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["search_scaling.py", *arguments])
    with pytest.raises(SystemExit):
        search_scaling.main()
    message = capsys.readouterr().err
    assert "--sizes" in message
    assert arguments[-1] in message
