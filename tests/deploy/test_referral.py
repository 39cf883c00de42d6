"""The bundle refers the same images to a reader as the decision of the run; pages say why."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from breastus.cli.main import main
from breastus.data.manifest.schema import read_manifest
from breastus.deploy.bundle import Bundle
from breastus.deploy.explainer import Explainer
from breastus.deploy.predictor import Predictor, tolerant
from breastus.errors import BundleError
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.decision.conformal import ConformalSets
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.predictions import read_predictions
from breastus.reporting.check_page import Case, check, check_page
from breastus.reporting.model_card import model_card
from breastus.runs.run import Run
from breastus.workflows.evaluate import evaluate_run
from breastus.workflows.train import train

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


@pytest.fixture(scope="module")
def run(tiny_config, tmp_path_factory):
    """A run on phantoms whose sets leave some images to the model; with views."""
    settings = {"coverage": 0.6, "tta": "flip", "calibration": "platt"}
    config = tiny_config.replace({"evaluation": settings, "training": {"epochs": 6}})
    return train("cnn", config=config, out=tmp_path_factory.mktemp("referral") / "cnn")


@pytest.fixture
def bundle(run, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(run.bundle, tmp_path / "bundle")


def page_of(bundle, cases, predictions):
    explainer = Explainer(Bundle.load(bundle))
    return check_page(info_of(bundle), cases, predictions, explainer=explainer)


def info_of(bundle):
    return json.loads((bundle / "bundle.json").read_text())


def with_sets(bundle, sets, **changes):
    info = {**info_of(bundle), "conformal": sets, **changes}
    (bundle / "bundle.json").write_text(json.dumps(info))
    return Predictor(bundle)


def paths_of(run):
    return read_manifest(run.path / "manifest.csv").set_index("image_id")["path"]


def calibrated_by(run, method, folder):
    """Return a copy of a run that was evaluated again with another calibration."""
    other = Run(shutil.copytree(run.path, folder))
    config = run.config.replace({"evaluation": {"calibration": method}})
    (folder / "config.yaml").write_text(config.to_yaml())
    evaluate_run(other)
    return Run(folder)


@pytest.mark.parametrize(
    "method",
    [
        "platt",
        pytest.param("temperature", marks=pytest.mark.slow),
        pytest.param("isotonic", marks=pytest.mark.slow),
    ],
)
def test_the_bundle_refers_whom_the_decision_of_the_run_refers(run, method, tmp_path):
    if method != "platt":
        run = calibrated_by(run, method, tmp_path / "cnn")
    tables = [read_predictions(run.path / f"predictions_{split}.csv") for split in ("val", "test")]
    table = pd.concat(tables)
    decision = Decision.from_dict(json.loads((run.path / "decision.json").read_text()))
    # The bounds are scores of validation images, which the graph must put on the same side.
    bounds = {decision.conformal.lump_from, decision.conformal.no_lump_to}
    assert any(
        np.isclose(table["probability"], bound, rtol=0, atol=1e-15).any() for bound in bounds
    )
    expected = decision.referred(table["probability"].to_numpy())
    predictor, paths = Predictor(run.bundle), paths_of(run)
    found = np.array([predictor(paths[image_id]).referred for image_id in table["image_id"]])
    # A steep step of isotonic calibration amplifies rounding: an image beside a bound, and not on
    # it, may come out on the other side.
    off = np.abs(table["probability"].to_numpy()[:, None] - np.array(sorted(bounds)))
    clear = ((off == 0) | (off > 1e-4)).all(axis=1)
    assert clear.sum() >= len(clear) - 2
    np.testing.assert_array_equal(found[clear], expected[clear])
    if method == "platt":
        assert set(found) == {True, False}


def test_rounding_in_the_graph_does_not_move_an_image_across_a_bound(bundle, run):
    table = read_predictions(run.path / "predictions_val.csv").sort_values("probability")
    path = paths_of(run)[table["image_id"].iloc[2]]
    probability = Predictor(bundle)(path).probability
    assert 0.3 < probability < 0.9
    for off, held in ((1e-6, True), (1e-3, False)):
        # Alone in the set of lump, or in none.
        sets = {"coverage": 0.6, "lump_from": probability + off, "no_lump_to": probability / 2}
        assert with_sets(bundle, sets, threshold=0.1)(path).referred is not held
        sets = {"coverage": 0.6, "lump_from": 0.999, "no_lump_to": probability - off}
        assert with_sets(bundle, sets, threshold=0.95)(path).referred is not held


def test_who_is_called_what_the_set_does_not_hold_is_referred(bundle, run):
    path = paths_of(run).iloc[0]
    probability = Predictor(bundle)(path).probability
    lump = {"coverage": 0.6, "lump_from": probability / 2, "no_lump_to": probability / 3}
    for threshold, label in ((probability / 2, "lump"), ((1 + probability) / 2, "no_lump")):
        found = with_sets(bundle, lump, threshold=threshold)(path)
        assert (found.label, found.referred) == (label, label == "no_lump")
        decision = Decision(Calibrator(), threshold, ConformalSets.from_dict(lump), {})
        assert decision.referred([probability]).tolist() == [found.referred]
        html = page_of(bundle, [Case(path)], [found])
        assert ("contradict each other" in html) == found.referred
        card = model_card(info_of(bundle))
        assert ("or the sets hold another answer than the threshold gives" in card) == (
            found.referred
        )


def test_bounds_give_way_by_rounding_alone():
    always = ConformalSets(0.9, 0.0, 1.0)
    assert tolerant(always) == always
    sets = tolerant(ConformalSets(0.9, 1e-6, 1 - 1e-6))
    assert sets.lump_from == pytest.approx(1e-6, rel=1e-3)
    assert sets.lump_from < 1e-6
    assert 1 - sets.no_lump_to == pytest.approx(1e-6, rel=1e-3)
    assert sets.no_lump_to > 1 - 1e-6
    # What isotonic calibration puts at 0 or 1 the graph keeps off them.
    ends = tolerant(ConformalSets(0.9, 1.0, 0.0))
    assert ends.decide([1e-12, 1 - 1e-12]).tolist() == ["no_lump", "lump"]


def test_a_bundle_without_sets_says_nothing_of_a_reader(bundle, run, tmp_path):
    predictor = with_sets(bundle, None)
    path = paths_of(run).iloc[0]
    found = predictor(path)
    assert found.referred is None
    explainer = Explainer(predictor.bundle)
    check(predictor, [Case(path)], tmp_path / "check.html", explainer=explainer)
    html = (tmp_path / "check.html").read_text()
    assert "does not say which images to refer to a reader" in html
    assert "Refer to a reader" not in html
    assert "Referred to a reader" not in model_card(predictor.metadata)
    info = info_of(bundle)
    del info["conformal"]  # as of an earlier version
    (bundle / "bundle.json").write_text(json.dumps(info))
    assert Predictor(bundle)(path).referred is None


def test_damaged_sets_are_named(bundle):
    with pytest.raises(BundleError, match=r"conformal in bundle\.json .* Received: \{'coverage"):
        with_sets(bundle, {"coverage": 0.9})


@pytest.mark.parametrize(
    ("low", "high", "why"),
    [
        (lambda p: 0.0, lambda p: 1.0, "the bundle refers every image"),
        (lambda p: p / 2, lambda p: (1 + p) / 2, "neither “lump” nor “no lump” can be ruled out"),
        (lambda p: (1 + p) / 2, lambda p: p / 2, "unusual for images with a lump, and for"),
    ],
)
def test_the_page_says_why_an_image_is_referred(bundle, run, low, high, why):
    path = paths_of(run).iloc[0]
    probability = Predictor(bundle)(path).probability
    sets = {"coverage": 0.9, "lump_from": low(probability), "no_lump_to": high(probability)}
    referred = with_sets(bundle, sets)(path)
    assert why in referred.reasons["undecided"]
    predictions = [referred, dataclasses.replace(referred, referred=False, reasons={})]
    html = " ".join(page_of(bundle, [Case(path)] * 2, predictions).split("\n"))
    assert html.count("<b>Refer to a reader</b>") == 1
    assert why in html
    assert "Refer to a reader: 1 of them" in html
    assert "90\N{NO-BREAK SPACE}% of the images of each class" in html


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 1.0, "reader: every image, as there were too few"),
        (0.2, 0.7, "of 0.2 to 0.7, where neither"),
        (0.7, 0.2, "of 0.2 to 0.7, where both classes are"),
    ],
)
def test_the_card_says_which_images_are_referred(bundle, low, high, text):
    sets = {"coverage": 0.9, "lump_from": low, "no_lump_to": high}
    assert text in model_card(info_of(bundle) | {"conformal": sets})


def test_the_commands_say_it(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    predictor, paths = Predictor(run.bundle), paths_of(run).tolist()
    referred = [predictor(path).referred for path in paths]
    assert main(["predict", str(run.bundle), *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["refer to a reader" in line for line in lines] == referred
    assert main(["check", str(run.bundle), *paths]) == 0
    assert f"Refer to a reader: {sum(referred)} of them" in capsys.readouterr().out
    assert (tmp_path / "check.html").read_text().count("<b>Refer to a reader") == sum(referred)
