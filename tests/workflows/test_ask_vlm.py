"""Predictions of a vision-language model are used as a trained model's are."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_vlm import FakeVlm, blind, sighted

import breastus
from breastus.config.schema import Config
from breastus.errors import ConfigError, RunError
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import score_predictions
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import read_predictions
from breastus.vlm.asking import Vlm
from breastus.workflows.ask_vlm import ask_vlm

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined
FAST = {"resamples": 100}


@pytest.fixture(scope="module")
def asked(phantoms, tmp_path_factory):
    """Answers about phantoms, with controls."""
    out = tmp_path_factory.mktemp("asked") / "predictions.csv"
    vlm = Vlm(FakeVlm(sighted), prompts="study")
    return ask_vlm(vlm, data=phantoms, controls=True, out=out, **FAST)


def test_the_table_is_one_of_predictions(asked):
    table = read_predictions(asked.out)
    assert len(table) == len(asked.table) == 40
    assert set(table["split"]) == {"train", "val", "test"}
    assert (table["predicted"] == "lump").equals(table["probability"] >= 0.5)
    written = pd.read_csv(asked.out)
    np.testing.assert_allclose(1 / (1 + np.exp(-written["log_odds"])), written["probability"])
    assert set(written["prompts"]) == {"study v1"}
    assert written["explanation"].str.len().min() > 0


def test_calibration_and_scores_take_the_table(asked):
    table = read_predictions(asked.out)
    settings = Config().replace_by_name(calibration="platt").evaluation
    validation, test = (table[table["split"] == split] for split in ("val", "test"))
    decision = Decision.fit(validation, settings, seed=0)
    assert decision.calibrator.method == "platt"
    scores = score_predictions(
        {"test": decision.apply(test)},
        threshold=decision.threshold,
        options=EvaluationOptions(resamples=100),
    )
    assert scores["test"]["n"] == len(test)


def test_score_takes_the_file(asked, phantoms, tmp_path):
    folds = breastus.export_splits(phantoms, out=tmp_path / "folds.csv")
    page = tmp_path / "score.html"
    report = breastus.score(asked.out, data=phantoms, splits=folds.file, out=page, **FAST)
    own = asked.controls["roc_auc"]["value"]
    assert report.metrics["roc_auc"]["value"] == pytest.approx(own, abs=1e-9)


def test_controls_are_written_beside_the_table(asked, phantoms, tmp_path):
    file = asked.out.with_suffix(".controls.json")
    assert json.loads(file.read_text())["verdict"] == asked.controls["verdict"]
    other = ask_vlm(
        Vlm(FakeVlm(blind), reports=False),
        data=phantoms,
        controls=True,
        out=tmp_path / "blind.csv",
        **FAST,
    )
    assert other.controls["verdict"] == "blind"
    assert asked.controls["verdict"] != "blind"
    assert "do not depend on the image" in other.summary


def test_abstentions_are_counted(phantoms, tmp_path):
    vlm = Vlm(FakeVlm(blind, text="I cannot see an image."), prompts="study")
    report = ask_vlm(vlm, data=phantoms, out=tmp_path / "p.csv")
    assert report.table["abstained"].all()
    assert "40 of 40 texts say neither yes nor no" in report.summary


def test_images_named_alone_have_no_label_and_no_controls(phantoms, tmp_path):
    files = sorted(phantoms.rglob("*.png"))[:2]
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    vlm = Vlm(FakeVlm(sighted), prompts="study")
    report = ask_vlm(vlm, [*files, bad], out=tmp_path / "p.csv")
    assert report.table["image_id"].tolist() == [str(file) for file in files]
    assert set(report.table["label"]) == {""}
    assert len(report.errors) == 1
    with pytest.raises(ConfigError, match="needs --data"):
        ask_vlm(vlm, files, controls=True, out=tmp_path / "q.csv")


def test_nothing_is_overwritten(asked, phantoms):
    with pytest.raises(RunError, match="exists"):
        ask_vlm(Vlm(FakeVlm(blind)), data=phantoms, out=asked.out)
