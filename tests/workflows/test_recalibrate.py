"""A run recalibrated for another hospital: its evaluation, its report, its bundle."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from breastus.cli.main import main
from breastus.deploy.predictor import Predictor
from breastus.errors import DataError, RunError, StaleResultWarning
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.decision.decision import Decision
from breastus.reporting.check_page import how_sure
from breastus.reporting.texts import external_summary
from breastus.runs.run import Run
from breastus.workflows.recalibrate import export_recalibrated
from breastus.workflows.validate_externally import evaluate_external

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder of 44 phantoms that the run has not seen."""
    from breastus.data.sources.phantom import write_phantoms

    return write_phantoms(tmp_path_factory.mktemp("elsewhere") / "other", count=44, seed=7)


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    return Run(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("own") / "cnn"))


@pytest.fixture(scope="module")
def external(run, elsewhere):
    """The outside evaluation, recalibrated and made worse."""
    return evaluate_external(
        run, elsewhere, recalibrate=20, robustness=True, severities=(3,), corruptions=["blur"]
    )


def read(folder, name="recalibration.json"):
    return json.loads((folder / name).read_text())


def test_the_report_leads_with_words_and_holds_all_parts(external):
    html = (external.path / "report.html").read_text()
    top = " ".join(html[: html.index("<nav")].split())
    assert "On its own" in top
    assert "After recalibration on 20 of these images" in top
    assert "degraded in 1 way, " in top
    for heading in (
        "External validation",
        "Recalibration for this hospital",
        "Prior shift: prevalence",
        "Robustness to image corruptions",
    ):
        assert f">{heading}</h2>" in html
    assert "nothing in this report or in the bundle is adjusted by it" in html
    assert "patients are unknown" in html
    for name in ("recalibration", "learning_curve", "robustness"):
        assert (external.path / "figures" / f"{name}.png").is_file()
    estimate = external.metrics["prevalence_estimate"]
    assert 0 <= estimate["estimate"]["ci_low"] <= estimate["estimate"]["value"] <= 1


def test_the_whole_is_judged_as_it_came_and_the_rest_before_and_after(run, external):
    trial, table = read(external.path), pd.read_csv(external.path / "predictions.csv")
    assert external.metrics["decision"] == read(run.path, "decision.json")
    assert external.metrics["test"]["n"] == len(table) == 44
    drawn = table["image_id"].isin(trial["sample"]["image_ids"])
    assert (drawn.sum(), (~drawn).sum()) == (trial["sample"]["n"], trial["held_out"]["n"])
    rest = table[~drawn]
    lump = (rest["label"] == "lump").to_numpy()
    calibrator = Calibrator.from_dict(trial["decision"]["calibrator"])
    after = calibrator.apply(rest["probability"].to_numpy())
    assert trial["before"]["brier"]["value"] == pytest.approx(
        ((rest["probability"] - lump) ** 2).mean()
    )
    assert trial["after"]["brier"]["value"] == pytest.approx(((after - lump) ** 2).mean())


@pytest.mark.slow
def test_evaluating_again_keeps_what_was_recalibrated(run, elsewhere, external, tmp_path):
    folder = shutil.copytree(external.path, tmp_path / "again")
    again = evaluate_external(run, elsewhere, out=folder)
    assert "Recalibration for this hospital" in (folder / "report.html").read_text()
    assert external_summary(again) == external_summary(external)
    stored = read(folder)
    stored["predictions"]["threshold"] += 0.1
    (folder / "recalibration.json").write_text(json.dumps(stored))
    with pytest.warns(
        StaleResultWarning, match=r"recalibration\.json was measured on other predictions"
    ):
        evaluate_external(run, elsewhere, out=folder)
    assert read(folder) == stored
    assert "Recalibration for this hospital" not in (folder / "report.html").read_text()
    assert not (folder / "figures" / "recalibration.png").exists()
    assert not (folder / "figures" / "learning_curve.png").exists()


def test_a_number_that_does_not_fit_is_said_before_anything_is_predicted(
    run, elsewhere, tmp_path, monkeypatch
):
    monkeypatch.setattr("breastus.workflows.validate_externally.Trainer", None)
    for images in (44, 43):
        with pytest.raises(DataError, match=f"recalibrate .* Received: {images}"):
            evaluate_external(run, elsewhere, out=tmp_path / "out", recalibrate=images)
    assert not (tmp_path / "out").exists()


def test_the_bundle_applies_it_and_says_so(run, external, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["export", str(run.path), "--recalibrated", str(external.path)]
    assert main(arguments) == 0
    bundle = tmp_path / "models" / "cnn-phantom"
    assert f"Bundle: {bundle.relative_to(tmp_path)}" in capsys.readouterr().out
    assert main(arguments) == 1  # it stands there already
    trial, info = read(external.path), read(bundle, "bundle.json")
    assert info["recalibration"]["sources"] == ["phantom"]
    assert info["recalibration"]["n"] == trial["sample"]["n"]
    assert info["threshold"] == trial["decision"]["threshold"]
    assert info["metrics"]["test"]["n"] == trial["held_out"]["n"]
    assert info["calibrator"] == read(run.bundle, "bundle.json")["calibrator"]
    card = (bundle / "MODEL_CARD.md").read_text()
    assert f"Recalibrated for: phantom, on {trial['sample']['n']} labelled images" in card
    assert "from phantom, that nothing was fitted on" in card

    assert "images of phantom that nothing was fitted on" in how_sure(info, 0.5)

    table = pd.read_csv(external.path / "predictions.csv").set_index("image_id")
    paths = pd.read_csv(external.path / "manifest.csv").set_index("image_id")["path"]
    predictor = Predictor(bundle)
    line = trial["decision"]["calibrator"]
    drawn = trial["sample"]["image_ids"][0]
    other = next(name for name in table.index if name not in trial["sample"]["image_ids"])
    for name in (drawn, other):
        odds = np.log(table.loc[name, "probability"] / (1 - table.loc[name, "probability"]))
        expected = 1 / (1 + np.exp(-line["slope"] * odds - line["intercept"]))
        assert predictor(paths[name]).probability == pytest.approx(expected, abs=1e-5)
        referred = Decision.from_dict(trial["decision"]).referred([expected])[0]
        assert predictor(paths[name]).referred == referred
    assert "seen_in_training" in predictor(paths[drawn]).flags
    assert "seen_in_training" not in predictor(paths[other]).flags


def test_what_cannot_be_exported_is_said(run, external, tmp_path, capsys):
    with pytest.raises(RunError, match=r"holds no recalibration\.json\. Name the folder of"):
        export_recalibrated(run, run.path, tmp_path / "out")
    other = Run(shutil.copytree(run.path, tmp_path / "other"))
    decision = read(other.path, "decision.json")
    decision["calibrator"] = {"method": "none"}
    (other.path / "decision.json").write_text(json.dumps(decision))
    with pytest.raises(RunError, match="recalibrated for another network"):
        export_recalibrated(other, external.path, tmp_path / "out")
    both = [str(run.path), str(run.path), "--recalibrated", str(external.path)]
    assert main(["export", *both]) == 2
    assert "--recalibrated" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
