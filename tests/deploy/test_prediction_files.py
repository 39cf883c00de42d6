"""Predictions as files: every format holds the same, and no incomplete file is left."""

import csv
import json

import pandas as pd
import pytest

from breastus.deploy.prediction_files import FORMATS, prediction_file
from breastus.deploy.predictor import Prediction

FINDINGS = ("normal", "benign", "malignant")
GOOD = Prediction(
    path="a, b.png",
    label="lump",
    probability=0.75,
    threshold=0.5,
    flags=("caliper", "text"),
    reasons={"caliper": "calipers", "text": "letters", "undecided": "not sure"},
    referred=True,
    findings=dict(zip(FINDINGS, (0.25, 0.5, 0.25), strict=True)),
)
BAD = Prediction(
    path="ü.png", label="", probability=float("nan"), threshold=0.5, error="ü.png is empty."
)


def write(form, out, predictions, findings=FINDINGS):
    with prediction_file(form, out, findings=findings) as add:
        for prediction in predictions:
            add(prediction)


@pytest.mark.parametrize("predictions", [[], [GOOD], [GOOD, BAD]])
def test_json_has_each_prediction_as_a_dict(tmp_path, capsys, predictions):
    write("json", tmp_path / "found.json", predictions)
    text = (tmp_path / "found.json").read_text(encoding="utf-8")
    assert json.loads(text) == [one.to_dict() for one in predictions]
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    write("json", None, predictions)
    assert capsys.readouterr().out == text


def test_csv_has_a_row_each(tmp_path, capsys):
    write("csv", tmp_path / "found.csv", [GOOD, BAD])
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        good, bad = csv.DictReader(file)
    assert good == {
        "path": "a, b.png",
        "label": "lump",
        "probability": "0.75",
        "threshold": "0.5",
        "referred": "True",
        "flags": "caliper;text",
        "reasons": "calipers; letters; not sure",
        "error": "",
        "normal": "0.25",
        "benign": "0.5",
        "malignant": "0.25",
    }
    assert (bad["probability"], bad["label"], bad["referred"], bad["benign"]) == ("", "", "", "")
    assert bad["error"] == "ü.png is empty."
    write("csv", None, [GOOD, BAD])
    assert capsys.readouterr().out == (tmp_path / "found.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [0, 1, 1000, 1001])
def test_parquet_has_the_rows_of_csv(tmp_path, count):
    predictions = ([GOOD, BAD] * count)[:count]
    for form in ("csv", "parquet"):
        write(form, tmp_path / f"found.{form}", predictions, findings=())
    table = pd.read_parquet(tmp_path / "found.parquet")
    rows = pd.read_csv(tmp_path / "found.csv", keep_default_na=False).astype(str)
    assert len(table) == count
    assert list(table) == list(rows)
    if count:
        assert table["probability"].dtype == float
        assert table["path"].tolist() == rows["path"].tolist()
        assert table["flags"].tolist() == rows["flags"].tolist()


@pytest.mark.parametrize("form", FORMATS)
def test_an_interrupted_file_does_not_appear(tmp_path, form):
    def interrupted():
        with prediction_file(form, tmp_path / "found") as add:
            add(GOOD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
