"""The report of a run and the verdict it opens with."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from prediction_tables import evaluated, evaluated_run, predictions

from breastus.errors import UndefinedMetricWarning
from breastus.reporting.confident_errors import most_confident_errors
from breastus.reporting.facts import ModelFacts
from breastus.reporting.report import write_report
from breastus.reporting.texts import verdict
from breastus.runs.report_folder import ReportFolder
from breastus.utils.files import jsonable


def test_the_verdict_says_the_counts():
    metrics = evaluated()
    (cleared, _), (_, found) = metrics["test"]["confusion_matrix"]
    text = verdict(metrics)
    assert f"found {found} of 40 lumps" in text
    assert f"cleared {cleared} of 30 images without a lump" in text
    assert "better than guessing" in text
    guess = verdict(evaluated({"test": predictions(shift=0.0)}))
    assert "may be no better than guessing" in guess


def test_the_verdict_says_when_everything_is_called_lump():
    table = predictions()
    table["probability"] = 0.5 + table["probability"] / 2
    with pytest.warns(UndefinedMetricWarning, match="test: .*undefined"):
        text = verdict(evaluated({"test": table}))
    assert "Every image is classified as lump" in text


def test_the_verdict_is_the_same_from_json_and_says_what_is_undefined():
    metrics = evaluated()
    assert verdict(json.loads(json.dumps(jsonable(metrics), allow_nan=False))) == verdict(metrics)
    with pytest.warns(UndefinedMetricWarning):
        metrics = evaluated({"test": predictions(others=0)})
    assert "ROC-AUC undefined" in verdict(json.loads(json.dumps(jsonable(metrics))))


def report(tmp_path, metrics, tables, model=None, flags="", **values):
    """Return the HTML of a report whose wrong images are read from files, with masks of lumps."""
    test = tables["test"]
    image, mask = tmp_path / "image.png", tmp_path / "mask.png"
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(image)
    lesion = np.zeros((60, 80), np.uint8)
    lesion[20:40, 30:50] = 255
    Image.fromarray(lesion).save(mask)
    manifest = test[["image_id", "group_id", "label", "finding"]].assign(
        path=str(image),
        mask_paths=np.where(test["label"] == "lump", str(mask), ""),
        source="phantom" if flags else "<x>",
        flags=flags,
        patient_id="",
        excluded="",
    )
    history = pd.DataFrame(
        {
            "epoch": [1, 2],
            "loss": [0.7, 0.5],
            "val_loss": [0.6, 0.6],
            "accuracy": [0.5, 0.8],
            "val_accuracy": [0.6, 0.7],
        }
    )
    write_report(
        ReportFolder(tmp_path),
        model=model or ModelFacts(name="cnn"),
        metrics=metrics,
        predictions=test,
        manifest=manifest,
        config={
            "model": {"name": "cnn", "image_size": 224},
            "preprocessing": {"color": "plain"},
            "training": {"checkpoint": "loss"},
            "seed": 0,
        },
        environment={"data_fingerprint": "ab" * 32, "command": "breastus train <cnn>"},
        history=history,
        **values,
    )
    return (tmp_path / "report.html").read_text()


@pytest.fixture(scope="module")
def run():
    return evaluated_run({"val": predictions("val", seed=1), "test": predictions()})


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    """Return the HTML of a report, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    return report(folder, *run, ModelFacts(name="cnn", groups_ignored=True)), folder


def test_the_report_is_one_file_that_opens_with_the_verdict(run, page):
    metrics, _ = run
    html, folder = page
    places = [html.index(text) for text in ("The split leaks", verdict(metrics)[:30], "<table")]
    assert places == sorted(places)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert not re.findall(r"url\((?!#)", html)
    assert "<script" not in html
    for name in ("<image>", "<cnn>", "<x>"):
        assert name not in html  # names are escaped
    assert "not a medical device" in html
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert {"confusion.png", "roc.png", "precision_recall.png", "history.png"} <= pictures
    assert {"decision_curve.png", "subgroups.png"} <= pictures


def test_the_contents_link_to_every_section(page):
    html, _ = page
    links = re.findall(r'<a href="#([^"]+)"', html)
    assert links == re.findall(r'<h2 id="([^"]+)"', html)
    assert {"reliability-diagram", "performance-by-subgroup", "most-confident-errors"} <= set(links)
    assert links[-1] == "settings-and-machine"


def test_the_figures_take_their_colours_from_the_page(page):
    html, _ = page
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.S))
    assert "var(--lump)" in drawn
    assert not re.findall(r"#[0-9a-f]{6}\b", drawn)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert html.count("<svg") == html.count('role="img" aria-label="') >= 8


def test_one_number_has_one_interval(run):
    metrics, _ = run
    whole = metrics["subgroups"]["attributes"][0]["subgroups"][0]
    for name in ("sensitivity", "specificity", "roc_auc"):
        for key in ("value", "ci_low", "ci_high"):
            assert whole[name][key] == metrics["test"][name][key]


def test_confident_errors_are_one_a_scene_with_the_lesion_outlined(run, page):
    _, tables = run
    html, _ = page
    wrong = tables["test"][tables["test"]["predicted"] != tables["test"]["label"]]
    tiles = html[html.index('<div class="tiles">') :]
    assert tiles.count('<img src="data:image/jpeg') == min(8, wrong["group_id"].nunique())
    assert "similar image" in tiles
    assert "the lesion is outlined" in tiles
    assert "holds images of patients" in html


def test_simulated_images_have_no_published_study_beside_them(tmp_path, run, page):
    metrics, tables = run
    assert "The published study" in page[0]
    metrics = metrics | {"simulated": {"training": True, "test": True}}
    html = report(tmp_path, metrics, tables, ModelFacts(name="cnn", phantom=True), "simulated")
    assert "The published study" not in html
    assert "holds images of patients" not in html
    assert "simulated test images" in verdict(metrics)
    assert "says nothing about patients" in verdict(metrics)


def test_a_missing_image_file_leaves_a_tile_without_a_picture(tmp_path, run):
    test = run[1]["test"]
    gone = test.assign(path=str(tmp_path / "image.png"), mask_paths="")
    errors = most_confident_errors(test, gone)
    assert errors
    assert not any(error.picture or error.outlined for error in errors)


def test_a_report_of_one_class_is_still_written(tmp_path):
    tables = {"val": predictions("val"), "test": predictions(others=0)}
    with pytest.warns(UndefinedMetricWarning):
        metrics, tables = evaluated_run(tables)
    assert "undefined" in report(tmp_path, metrics, tables)


def test_the_report_says_how_the_decision_is_made(run, page):
    metrics, _ = run
    html, _ = page
    assert "Calibration: temperature" in html
    assert "Youden" in html
    assert "Referred, of all images" in html
    # The decision is validation's: other test images change nothing of it.
    other, _ = evaluated_run({"val": predictions("val", seed=1), "test": predictions(seed=7)})
    assert other["decision"] == metrics["decision"]
