"""A bundle is evaluated externally as the run it came from, except what needs the run."""

import json
import shutil

import numpy as np
import pytest

from breastus.cli.main import main
from breastus.deploy.predictor import Predictor
from breastus.errors import BundleError, RunError
from breastus.evaluation.predictions import read_predictions
from breastus.reporting.texts import external_summary
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.recalibrate import export_recalibrated
from breastus.workflows.validate_externally import evaluate_external

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


@pytest.fixture
def elsewhere(class_folders):
    return class_folders(no_lump=8, lump=8)


@pytest.fixture
def bundle(tiny_run, tmp_path):
    return shutil.copytree(tiny_run.bundle, tmp_path / "models" / "tiny")


@pytest.mark.slow
def test_a_bundle_and_its_run_say_the_same(tiny_run, bundle, elsewhere, tmp_path):
    options = {"recalibrate": 8, "robustness": True, "corruptions": ["blur"], "severities": [2]}
    of_run = evaluate_external(tiny_run, elsewhere, out=tmp_path / "run", **options)
    of_bundle = evaluate_external(bundle, elsewhere, **options)
    assert of_bundle.path == tmp_path / "models" / "tiny-external" / elsewhere.name
    ours, theirs = (read_predictions(one.path / "predictions.csv") for one in (of_bundle, of_run))
    np.testing.assert_allclose(
        ours["probability_uncalibrated"], theirs["probability_uncalibrated"], atol=1e-6
    )
    np.testing.assert_allclose(ours["probability"], theirs["probability"], atol=1e-6)
    assert ours["predicted"].tolist() == theirs["predicted"].tolist()
    assert ours["threshold"].tolist() == theirs["threshold"].tolist()
    graph = Predictor(bundle)
    for row in ours.head(3).itertuples():
        path = next(elsewhere.rglob(row.image_id.rsplit("/", 1)[1] + "*"))
        assert graph(path).probability == pytest.approx(row.probability, abs=1e-4)
    for file in ("robustness.json", "recalibration.json"):
        ours, theirs = (json.loads((one.path / file).read_text()) for one in (of_bundle, of_run))
        assert ours.keys() == theirs.keys()
    estimates = [one.metrics["prevalence_estimate"] for one in (of_bundle, of_run)]
    for name in ("training_prevalence", "mean_probability"):
        assert estimates[0][name] == pytest.approx(estimates[1][name], abs=1e-6)
    assert "Only identical files were searched for" in external_summary(of_bundle)[0]
    Predictor(bundle)  # nothing in it was changed

    # What was recalibrated for the run's bundle may be exported from either.
    out = export_recalibrated(bundle, of_bundle.path, tmp_path / "there")
    assert Predictor(out).threshold != graph.threshold
    export_recalibrated(tiny_run, of_bundle.path, tmp_path / "there as well")
    with pytest.raises(BundleError, match=r"was recalibrated for .* name the run or bundle"):
        evaluate_external(out, elsewhere)


def test_what_a_bundle_has_seen_is_left_out(tiny_run, bundle, tmp_path):
    model = ModelArtifact.from_bundle(bundle)
    assert model.seen == ModelArtifact.from_run(tiny_run).seen
    splits = evaluate_external(bundle, tiny_run.config.data.source, out=tmp_path / "out")
    assert splits.metrics["excluded_training_images"] == len(model.seen)
    assert splits.metrics["test"]["n"] == tiny_run.metrics["test"]["n"]


def test_own_test_images_are_not_from_elsewhere(tiny_run, tmp_path):
    found = evaluate_external(tiny_run, tiny_run.config.data.source, out=tmp_path / "out")
    number = tiny_run.metrics["test"]["n"]
    text = f"{number} images are not external"
    assert found.metrics["test"]["n"] == number
    assert text in (found.path / "report.html").read_text()


def test_a_cross_validation_stands_for_its_bundle(tiny_run, bundle, elsewhere, tmp_path):
    folder = tmp_path / "cv"
    (folder / "repeat-0-fold-0").mkdir(parents=True)
    with pytest.raises(RunError, match=r"without a bundle.* breastus export"):
        ModelArtifact.load(folder)
    shutil.copytree(bundle, folder / "bundle")
    assert ModelArtifact.load(folder).bundle == folder / "bundle"


@pytest.mark.parametrize("options", [[], ["--robustness"], ["--against", "x"]])
def test_what_takes_a_run_says_so(bundle, options, capsys):
    assert main(["evaluate", str(bundle), *options]) == 1
    assert "only with --data" in capsys.readouterr().err
