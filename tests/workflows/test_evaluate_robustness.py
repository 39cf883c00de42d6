"""Corrupted test images: evaluated as the run is, kept in its report, dropped when stale."""

import json
import shutil

import pandas as pd
import pytest

from breastus.cli.main import main
from breastus.errors import ConfigError, DataError, RunError
from breastus.evaluation.result_cache import read_cached_result, write_cached_result
from breastus.runs.run import Run
from breastus.workflows.evaluate import evaluate_run
from breastus.workflows.evaluate_robustness import evaluate_robustness

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined
HEADING = "Robustness to image corruptions"


@pytest.fixture(scope="module")
def measured(tiny_run, tmp_path_factory):
    """A copy of the run, measured by the command line."""
    folder = tmp_path_factory.mktemp("robust") / "cnn"
    shutil.copytree(tiny_run.path, folder)
    arguments = ["--severities", "2", "--corruptions", "gain_down", "jpeg"]
    assert main(["evaluate", str(folder), "--robustness", *arguments]) == 0
    return Run(folder)


def test_clean_images_score_as_the_run_does_and_the_report_shows_it(measured):
    found = json.loads((measured.path / "robustness.json").read_text())
    assert list(found["corruptions"]) == ["gain_down", "jpeg"]
    assert found["severities"] == [2]
    test = measured.metrics["test"]
    for name in ("roc_auc", "sensitivity", "specificity", "brier"):
        # Through NumPy arrays here, through file bytes there: one transform, one network.
        assert found["clean"][name]["value"] == pytest.approx(test[name]["value"], abs=1e-5)
    html = (measured.path / "report.html").read_text()
    assert HEADING in html
    assert "degraded in 2 ways" in html
    assert (measured.path / "figures" / "robustness.png").is_file()


@pytest.mark.slow
def test_other_predictions_leave_it_out_of_the_report_and_never_delete_it(measured, tmp_path):
    again = Run(shutil.copytree(measured.path, tmp_path / "again"))
    stored = (again.path / "robustness.json").read_bytes()
    threshold = again.config.evaluation.threshold
    with pytest.warns(UserWarning, match=r"robustness\.json was measured on other predictions"):
        evaluate_run(again, settings=["evaluation.threshold=0.123"])
    assert HEADING not in (again.path / "report.html").read_text()
    assert not (again.path / "figures" / "robustness.png").exists()
    assert (again.path / "robustness.json").read_bytes() == stored
    # It is back with its predictions.
    evaluate_run(again, settings=[f"evaluation.threshold={threshold or 'null'}"])
    assert HEADING in (again.path / "report.html").read_text()


def test_what_was_measured_holds_for_the_same_predictions_alone(tmp_path):
    table = pd.DataFrame(
        {"image_id": ["a", "b"], "label": ["lump", "no_lump"], "group_id": ["1", "2"]}
    ).assign(probability=[0.7, 0.2], threshold=0.5)
    path = tmp_path / "x.json"
    assert read_cached_result(path, predictions=table) is None
    write_cached_result(path, {"n": 2}, predictions=table)
    # Another order, and what differs between machines.
    near = table.iloc[::-1].assign(probability=[0.20004, 0.69996])
    assert read_cached_result(path, predictions=near) == {"n": 2}
    for column, value in (("probability", 0.6), ("label", "lump"), ("group_id", "1"),
                          ("threshold", 0.6), ("image_id", "c")):  # fmt: skip
        write_cached_result(path, {"n": 2}, predictions=table)
        other = table.copy()
        other.loc[1 if column != "threshold" else slice(None), column] = value
        with pytest.warns(UserWarning, match="measured on other predictions"):
            assert read_cached_result(path, predictions=other) is None
        assert read_cached_result(path, predictions=table) == {"n": 2}


def test_an_image_that_is_no_longer_what_was_tested_is_named(tiny_run, tmp_path):
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "run"))
    manifest = pd.read_csv(run.path / "manifest.csv", keep_default_na=False)
    manifest.assign(sha256="0" * 64).to_csv(run.path / "manifest.csv", index=False)
    with pytest.raises(DataError, match="has changed since it was predicted"):
        evaluate_robustness(run, severities=(1,), corruptions=["jpeg"])


def test_what_is_wrong_is_said_before_any_work(tiny_run, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"Did you mean blur\? Received: .*'blurr'"):
        evaluate_robustness(tiny_run, corruptions=["blurr"])
    with pytest.raises(RunError, match="is not a run folder"):
        evaluate_robustness(tmp_path)
    folder = str(tiny_run.path)
    for arguments, message in (
        (["--robustness", "--against", folder], "--robustness and --against"),
        (["--severities", "1"], "--severities needs --robustness"),
        (["--robustness", "--severities", "6"], "whole number from 1 to 5. Received: 6"),
        (["--recalibrate", "20"], "--recalibrate needs --data"),
        (["--seed", "1"], "--seed needs --recalibrate"),
        (["--set", "evaluation.threshold=0.3", "--data", "x"], "--set and --data"),
        (["--set", "training.epochs=3"], "settings of evaluation. only"),
        (["--set", "evaluation.tta=flip"], "not with another evaluation.tta"),
        (["--set", "evaluation.treshold=0.3"], "Did you mean"),
        (["--data", "x", "--recalibrate", "0"], "whole number from 1. Received: 0"),
    ):
        assert main(["evaluate", folder, *arguments]) == 2
        assert message in capsys.readouterr().err
