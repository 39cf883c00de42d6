"""Benchmarks of the data checks: near-duplicates and flags on phantoms, and the scaling search."""

import numpy as np
import pytest
from drawing import ALTERATIONS

from experiments import records, results
from experiments.benchmarks import data_checks, search_scaling


def cells(lines):
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]


IMAGES = [({"text"}, {"text"}), ({"text"}, set()), (set(), {"caliper"})]


def test_what_was_counted_is_recorded_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.setattr(data_checks, "PHANTOMS", 2)
    counts = {"images": 780, "seconds": 12.3, "pairs": 240, "groups": 153, "in_groups": 346}
    busi = {**counts, "contradicting": 8}
    monkeypatch.setattr(data_checks, "busi_near_duplicates", lambda folder: busi)
    known = {flag: data_checks.rates(flag, IMAGES) for flag in ("text", "dual_view")}
    patients = {"bus_uclm": known, "busi": {}, "dual_views": 7}
    monkeypatch.setattr(data_checks, "flags_on_patients", lambda folder: patients)
    monkeypatch.setattr("sys.argv", ["data_checks.py", "--data", "x"])
    data_checks.main()
    record = records.read_measurement("curation")
    assert record["code_version"]
    lines = dict(results.sections({}))["curation"]().splitlines()
    rows = {row[0]: row[1:] for row in cells(lines)}
    for name in ALTERATIONS:
        assert rows[name][:2] == ["2", "2"], name
    for name, (flag, _) in data_checks.MARKS.items():
        assert rows[name][0] == flag
        assert rows[name][1].endswith("of 2)")
    assert rows["unmarked"][1] == "none"
    assert rows["found here"] == ["240", "153", "346", "8"]
    sample = [row[1:] for row in cells(lines) if row[0].startswith("BUS-UCLM")]
    assert sample[0][1].startswith("0.500 (")
    assert sample[0][2].startswith("1.000 (")
    assert sample[1][1] == "no image"


def test_sensitivity_and_specificity_of_a_flag_are_counted():
    assert data_checks.rates("text", IMAGES) == [1, 2, 1, 1]
    assert data_checks.rates("dual_view", IMAGES) == [0, 0, 3, 3]


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


def test_the_growth_is_recorded_and_written(tmp_path, monkeypatch):
    row = {"peak_mb": 300.0, "repeated": 10, "found": 9, "others": 1, "processor_seconds": 2.0}
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.setattr(search_scaling, "measure_apart", lambda *a: {**row, "images": a[-1]})
    monkeypatch.setattr(search_scaling, "milliseconds_an_image", lambda folder: {"flags": 8.4})
    monkeypatch.setattr("sys.argv", ["search_scaling.py", "--data", "x"])
    search_scaling.main()
    text = dict(results.sections({}))["growth"]()
    assert "| 100,000 | 2 | 300 | 9 of 10 | 1 |" in text
    assert "flags 8; together 8" in text
    monkeypatch.setattr("sys.argv", ["search_scaling.py"])
    with pytest.raises(SystemExit):
        search_scaling.main()
