"""The shortcut test in a run: its file, its part of metrics.json and of the report."""

import json

import pytest

from breastus.runs.run import Run
from breastus.workflows.evaluate import evaluate_run


def test_a_run_says_how_many_calls_flip(tiny_run):
    found = json.loads((tiny_run.path / "shortcuts.json").read_text())
    assert tiny_run.metrics["shortcuts"] == found
    assert found["marks_added"]["n"] == tiny_run.metrics["test"]["n_no_lump"]  # fewer than the cap
    assert (
        0
        <= found["marks_added"]["ci_low"]
        <= found["marks_added"]["flip_rate"]
        <= found["marks_added"]["ci_high"]
    )
    assert found["marks_removed"]["n"] == 0  # phantoms have no marks
    assert found["marks_removed"]["flip_rate"] is None
    report = (tiny_run.path / "report.html").read_text()
    assert "Shortcut test: burned-in marks" in report
    assert "no images of this kind" in report


@pytest.mark.slow
def test_a_run_without_it_is_judged_all_the_same(tiny_run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(tiny_run.path, copy)
    (copy / "shortcuts.json").unlink()
    assert "shortcuts" not in evaluate_run(Run(copy))
    assert "Shortcut test: burned-in marks" not in (copy / "report.html").read_text()
