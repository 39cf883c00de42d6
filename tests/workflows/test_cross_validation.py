"""Pooled folds, averaged networks, compared runs and external validation."""

import json
import re
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from breastus.cli.main import main
from breastus.data.images import read_image, to_png
from breastus.deploy.predictor import Predictor
from breastus.errors import ConfigError, DataError, RunError
from breastus.evaluation.calibration.logistic import logit, sigmoid
from breastus.evaluation.decision.conformal import ConformalSets
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.metrics.metrics import compute_metrics
from breastus.evaluation.predictions import read_predictions
from breastus.models.ensemble import ensemble
from breastus.models.registry import build_model
from breastus.preprocessing.transform import Transform
from breastus.reporting.check_page import check
from breastus.reporting.texts import comparison_summary
from breastus.runs.cross_validation import CrossValidation
from breastus.training.feature_cache import FeatureCache
from breastus.workflows.compare import compare_runs
from breastus.workflows.cross_validate import cross_validate, evaluate_folds
from breastus.workflows.ensemble import export_ensemble
from breastus.workflows.export_splits import export_splits
from breastus.workflows.score import score
from breastus.workflows.validate_externally import evaluate_external

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


@pytest.fixture(scope="module")
def folds(tiny_config, tmp_path_factory):
    """A cross-validation of three folds, one repeat; not to be changed."""
    config = tiny_config.replace({"training": {"epochs": 1}})
    return cross_validate("cnn", config=config, out=tmp_path_factory.mktemp("cv") / "cnn-cv",
                          folds=3, repeats=1)  # fmt: skip


def test_every_image_is_tested_once_by_a_network_that_never_saw_its_group(folds):
    pooled = folds.predictions
    assert len(folds.runs) == 3
    assert not pooled["image_id"].duplicated().any()
    manifest = pd.read_csv(folds.path / "manifest.csv", keep_default_na=False)
    assert set(pooled["image_id"]) == set(manifest[manifest["excluded"] == ""]["image_id"])
    for run in folds.runs:
        splits = pd.read_csv(run.path / "splits.csv").merge(manifest, on="image_id")
        tested = set(splits.loc[splits["split"] == "test", "group_id"])
        assert not tested & set(splits.loc[splits["split"] != "test", "group_id"])


def test_scores_are_of_the_pooled_predictions_each_by_its_own_threshold(folds):
    pooled = folds.predictions
    lump = (pooled["label"] == "lump").to_numpy(int)
    expected = compute_metrics(
        lump, pooled["probability"].to_numpy(), threshold=pooled["threshold"].to_numpy()
    )
    for name in ("roc_auc", "accuracy", "brier", "sensitivity"):
        assert folds.metrics[name]["value"] == pytest.approx(expected[name])
    assert expected["accuracy"] == pytest.approx((pooled["predicted"] == pooled["label"]).mean())


@pytest.mark.slow
def test_the_folder_is_scored_on_the_folds_that_it_was_trained_on(folds, tiny_config, tmp_path):
    source = tiny_config.data.source
    export = export_splits(source, out=tmp_path / "folds.csv", folds=3, seed=tiny_config.seed)
    report = score(
        folds.path, data=source, splits=export.file, out=tmp_path / "a.html", resamples=100
    )
    assert report.metrics["entry"] == "cnn-cv"
    assert report.metrics["folds_checked"]
    for name in ("roc_auc", "sensitivity"):
        assert report.metrics[name]["value"] == pytest.approx(folds.metrics[name]["value"])
    other = export_splits(source, out=tmp_path / "other.csv", folds=3, seed=tiny_config.seed + 1)
    with pytest.raises(DataError, match="no repeat of this cross-validation has the folds"):
        score(folds.path, data=source, splits=other.file, out=tmp_path / "b.html")
    run = folds.runs[0].path
    with pytest.raises(RunError, match=r"not the folder of a cross-validation.*predictions_test"):
        score(run, data=source)
    report = score(run / "predictions_test.csv", data=source, splits=run / "splits.csv",
                   out=tmp_path / "c.html", resamples=100)  # fmt: skip
    assert report.metrics["n"] == len(folds.runs[0].read_predictions("test"))


def test_the_report_is_one_file(folds):
    html = (folds.path / "report.html").read_text()
    assert "Cross-validation of" in html
    answer = " ".join(html[html.index('<div class="verdict">') :].split())
    (cleared, alarms), (missed, found) = folds.metrics["confusion_matrix"]
    assert f"found {found:.0f} of {found + missed:.0f} lumps (sensitivity" in answer
    assert f"cleared {cleared:.0f} of {cleared + alarms:.0f} images without a lump" in answer
    assert "In 3 folds" in answer
    assert "simulated images" in answer
    assert "It has never seen a patient" in html
    assert html.count("repeat-0-fold-") >= 3
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)


def test_it_says_how_long_all_folds_took(folds):
    seconds = sum(run.environment["seconds_total"] for run in folds.runs)
    assert folds.metrics["minutes"] == pytest.approx(seconds / 60)
    minutes = f"All folds took {seconds / 60:.0f} minutes from images to report"
    assert minutes in (folds.path / "report.html").read_text()


def test_finished_folds_are_kept_and_other_settings_refused(folds, tiny_config):
    before = {run.path: (run.path / "best.keras").stat().st_mtime_ns for run in folds.runs}
    config = tiny_config.replace({"training": {"epochs": 1}})
    again = cross_validate("cnn", config=config, out=folds.path, folds=3, repeats=1)
    assert {r.path: (r.path / "best.keras").stat().st_mtime_ns for r in again.runs} == before
    assert again.metrics == folds.metrics
    other = config.replace({"preprocessing": {"color": "parula"}})
    with pytest.raises(
        RunError, match=r"preprocessing\.color is plain there and parula was asked for"
    ):
        cross_validate("cnn", config=other, out=folds.path, folds=3, repeats=1)


def test_turns_judge_their_test_part_together(folds, tmp_path):
    """Second rotations that are copies of the first: only the odds change."""
    whole = shutil.copytree(folds.path, tmp_path / "cv")
    for run in folds.runs:
        other = shutil.copytree(run.path, whole / f"{run.path.name}-rotation-1")
        settings = run.config.replace({"data": {"val_rotation": 1}})
        (other / "config.yaml").write_text(settings.to_yaml())
        for file in other.glob("predictions_*.csv"):
            table = pd.read_csv(file, keep_default_na=False)
            table.assign(
                probability_uncalibrated=sigmoid(3 * logit(table["probability_uncalibrated"]))
            ).to_csv(file, index=False)
    result = evaluate_folds(whole)
    assert [len(runs) for runs in result.folds] == [2, 2, 2]
    assert result.metrics["val_rotations"] == 2
    np.testing.assert_allclose(
        logit(result.predictions["probability_uncalibrated"]),
        2 * logit(folds.predictions["probability_uncalibrated"]),
        rtol=1e-6,
    )
    for _, fold in result.predictions.groupby("fold"):
        np.testing.assert_array_equal(
            fold["predicted"] == "lump", fold["probability"] >= fold["threshold"]
        )
    report = " ".join((whole / "report.html").read_text().split())
    assert "the 2 networks of a fold are averaged" in report
    assert "Images referred to a reader" in report
    assert "Performance by subgroup" in report
    (everyone,) = result.metrics["subgroups"]["attributes"][0][
        "subgroups"
    ]  # each image by its own threshold
    assert everyone["n"] == len(result.predictions)
    for name in ("sensitivity", "specificity"):
        for key in ("value", "ci_low", "ci_high"):
            assert everyone[name][key] == pytest.approx(result.metrics[name][key])
    referral = result.metrics["referral"]
    assert referral["referred"]["n"] == len(result.predictions)
    assert not {"holds_lump", "holds_no_lump"} & set(result.predictions)
    shutil.rmtree(whole / "repeat-0-fold-1-rotation-1")
    with pytest.raises(RunError, match="lacks a fold or a rotation"):
        evaluate_folds(whole)


@pytest.mark.slow
def test_each_turn_validates_on_another_part_and_features_are_shared(tiny_config, tmp_path):
    training = {"epochs": 2, "head_epochs": 2, "cached_views": 2}
    config = tiny_config.replace({"training": training})
    arguments = {"config": config, "out": tmp_path / "cv", "folds": 3, "repeats": 1}
    arguments["val_rotations"] = 2
    with pytest.MonkeyPatch.context() as patch:
        made = []
        patch.setattr(
            "breastus.training.trainer.FeatureCache",
            lambda *args, **kwargs: made.append(kwargs) or FeatureCache(*args, **kwargs),
        )
        result = cross_validate("compact", **arguments)
    assert len(result.runs) == 6
    assert len(made) == 2
    for runs in result.folds:
        splits = [pd.read_csv(run.path / "splits.csv").set_index("image_id") for run in runs]
        parts = [set(one.index[one["split"] == "val"]) for one in splits]
        test = set(splits[0].index[splits[0]["split"] == "test"])
        assert not parts[0] & parts[1]
        assert parts[0] | parts[1] | test == set(splits[0].index)
    before = result.metrics
    assert cross_validate("compact", **arguments).metrics == before
    info = json.loads((export_ensemble(result.runs, tmp_path / "all") / "bundle.json").read_text())
    assert [(one["fold"], one["val_rotation"]) for one in info["members"]] == list(np.ndindex(3, 2))


def test_what_cannot_be_cross_validated_is_said(folds, tiny_config, tmp_path):
    with pytest.raises(ConfigError, match=r"val_rotations must be from 1 to 2.*Received: 3"):
        cross_validate("cnn", config=tiny_config, out=tmp_path / "cv", folds=3, val_rotations=3)
    with pytest.raises(ConfigError, match="repeats must be at least 1"):
        cross_validate("cnn", config=tiny_config, out=tmp_path / "cv", repeats=0)
    for few in (1, 2):
        with pytest.raises(ConfigError, match=rf"data\.folds must be at least 3.*Received: {few}"):
            cross_validate("cnn", config=tiny_config, out=tmp_path / "cv", folds=few)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(RunError, match="is not a cross-validation"):
        cross_validate("cnn", config=tiny_config, out=tmp_path / "full")
    with pytest.raises(RunError, match="holds no runs"):
        evaluate_folds(tmp_path)
    assert CrossValidation(tmp_path).runs == []


def test_the_command_says_which_options_go_together(capsys):
    for first, second, arguments in (
        ("--repeats", "--folds", ["--repeats", "2"]),
        ("--val-rotations", "--folds", ["--val-rotations", "2"]),
        ("--publish", "breastus export", ["--folds", "3", "--publish", "x"]),
    ):
        assert main(["train", "cnn", *arguments]) == 2
        message = capsys.readouterr().err
        assert first in message
        assert second in message


@pytest.mark.slow
def test_an_ensemble_is_one_bundle_that_tensorflow_serves(folds, tmp_path):
    bundle = export_ensemble(folds.runs, tmp_path / "all")
    info = json.loads((bundle / "bundle.json").read_text())
    assert info["model"] == "3 x cnn"
    assert [member["fold"] for member in info["members"]] == [0, 1, 2]
    network = keras.models.load_model(bundle / "model.keras", safe_mode=True)
    row = folds.predictions.iloc[0]
    path = (
        pd.read_csv(folds.path / "manifest.csv").set_index("image_id").loc[row["image_id"], "path"]
    )
    encoded = tf.constant([to_png(read_image(path))])
    served = tf.saved_model.load(str(bundle / "saved_model")).signatures["predict_bytes"](encoded)

    inputs = Transform.from_config(folds.runs[0].config).bytes_to_input(encoded)
    members = [keras.models.load_model(run.path / "best.keras") for run in folds.runs]
    odds = np.mean(
        [logit(member.predict(inputs, verbose=0)[:, 1].astype(float)) for member in members]
    )
    raw = network.predict(inputs, verbose=0)[0]
    assert logit(raw[1:].astype(float)) == pytest.approx(odds, abs=1e-4)
    expected = 1 / (1 + np.exp(-odds / info["temperature"]))
    assert float(served["lump"][0]) == pytest.approx(expected, abs=1e-5)
    # Every image trained one of them or chose its epoch, and the bundle knows it.
    predictor = Predictor(bundle)
    assert "seen_in_training" in predictor(path).flags
    sets = ConformalSets.from_dict(info["conformal"])
    assert predictor(path).referred == (sets.decide([expected])[0] == "refer")


@pytest.mark.slow
def test_an_ensemble_of_folds_is_not_scored_by_what_was_fitted_to_its_test(folds, tmp_path):
    bundle = export_ensemble(folds.runs, tmp_path / "all")
    info = json.loads((bundle / "bundle.json").read_text())
    test, pooled = info["metrics"]["test"], folds.predictions
    assert test["n"] == len(pooled)
    for name in ("sensitivity", "specificity", "accuracy", "brier", "roc_auc"):
        assert test[name]["value"] == pytest.approx(folds.metrics[name]["value"])
    assert test["confusion_matrix"] == folds.metrics["confusion_matrix"]
    referred = 0
    for run in folds.runs:
        decision = Decision.from_dict(json.loads((run.path / "decision.json").read_text()))
        own = read_predictions(run.path / "predictions_test.csv")
        referred += decision.referred(own["probability"].to_numpy()).sum()
    assert test["referral"]["referred"]["value"] == pytest.approx(referred / len(pooled))

    assert info["test_scoring"]["networks_per_image"] == [1, 1]
    assert (info["test_scoring"]["members"], info["test_scoring"]["decisions"]) == (3, 3)
    ends = [pooled["threshold"].min(), pooled["threshold"].max()]
    assert info["test_scoring"]["threshold_range"] == pytest.approx(ends)
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "each scored by 1 of the 3 networks" in card
    assert "3 such decisions were made, with a threshold of " in card
    assert "the bundle was not tested as a whole" in card
    assert "took no part in training" not in card
    check(Predictor(bundle), [], tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text()
    assert "of its 3 networks, only those that had not seen an image" in page


def test_an_ensemble_on_one_split_is_scored_by_its_own_decision(tiny_run, tmp_path):
    bundle = export_ensemble([tiny_run, tiny_run], tmp_path / "two")
    info = json.loads((bundle / "bundle.json").read_text())
    assert "test_scoring" not in info
    assert info["threshold"] == pytest.approx(tiny_run.metrics["decision"]["threshold"])
    assert (
        info["metrics"]["test"]["confusion_matrix"]
        == (tiny_run.metrics["test"]["confusion_matrix"])
    )
    assert "that took no part in training" in (bundle / "MODEL_CARD.md").read_text()


def test_an_ensemble_counts_the_images_that_its_networks_were_fitted_on(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run.path, tmp_path / "run")
    manifest = pd.read_csv(run / "manifest.csv", dtype=str, keep_default_na=False)
    copy = manifest.merge(pd.read_csv(run / "splits.csv").query("split == 'train'")[["image_id"]])
    copy = copy.head(3).assign(source="b", excluded="duplicate: the same file")
    copy["image_id"] = "b/" + copy["image_id"]
    pd.concat([manifest, copy]).to_csv(run / "manifest.csv", index=False)
    bundle = export_ensemble([run, run], tmp_path / "two")
    found, single = (
        json.loads((folder / "bundle.json").read_text()) for folder in (bundle, tiny_run.bundle)
    )
    assert found["trained_on"] == single["trained_on"]
    assert found["input_statistics"] == single["input_statistics"]


@pytest.mark.parametrize("column", ["label", "group_id"])
def test_runs_that_disagree_on_an_image_are_no_ensemble(folds, tmp_path, column):
    other = shutil.copytree(folds.runs[1].path, tmp_path / "other")
    manifest = pd.read_csv(other / "manifest.csv", dtype=str, keep_default_na=False)
    first = manifest.loc[0, column]
    manifest.loc[0, column] = "lump" if first == "no_lump" else "no_lump"
    manifest.to_csv(other / "manifest.csv", index=False)
    with pytest.raises(RunError, match=f"must give each image one {column}. Received: '{first}'"):
        export_ensemble([folds.runs[0], other], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_networks_that_do_not_fit_are_no_ensemble(folds, tiny_run):
    with pytest.raises(RunError, match=r"at least two runs\. Received: 1"):
        export_ensemble(folds.runs[:1], "nowhere")
    with pytest.raises(ValueError, match="one input shape"):
        ensemble([build_model("cnn", image_size=24), build_model("cnn", image_size=32)])
    with pytest.raises(ValueError, match="Received: none"):
        ensemble([])


def test_a_run_elsewhere_is_judged_with_nothing_fitted(tiny_run, class_folders, tmp_path):
    found = evaluate_external(tiny_run, class_folders(no_lump=8, lump=9), out=tmp_path / "out")
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(predictions) == found.metrics["test"]["n"] == 17
    own = json.loads((tiny_run.path / "decision.json").read_text())
    assert found.metrics["decision"] == own
    assert set(predictions["threshold"]) == {own["threshold"]}
    assert "val" not in found.metrics
    html = (tmp_path / "out" / "report.html").read_text()
    assert "nothing was fitted on these images" in html
    predictor = Predictor(tiny_run.bundle)
    manifest = pd.read_csv(tmp_path / "out" / "manifest.csv").set_index("image_id")
    row = predictions.iloc[3]
    assert predictor(manifest.loc[row["image_id"], "path"]).probability == pytest.approx(
        row["probability"], abs=1e-5
    )


def test_images_that_were_trained_on_are_no_test(tiny_run, tiny_config, tmp_path):
    found = evaluate_external(tiny_run, tiny_config.data.source, out=tmp_path / "again")
    splits = pd.read_csv(tiny_run.path / "splits.csv")["split"]
    assert found.metrics["excluded_training_images"] == (splits != "test").sum()
    assert found.metrics["test"]["n"] == (splits == "test").sum()
    assert found.metrics["test"]["roc_auc"]["value"] == pytest.approx(
        tiny_run.metrics["test"]["roc_auc"]["value"], nan_ok=True
    )


def test_nothing_left_to_test_on_is_said(tiny_run, write_image, tmp_path):
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "images.csv").write_text("path,label\nimages/a.png,\n")
    with pytest.raises(DataError, match=r"images\.csv holds no image to evaluate on"):
        evaluate_external(tiny_run, tmp_path / "images.csv")


def test_two_runs_are_compared_on_the_same_images(tiny_run, folds, tmp_path):
    other = shutil.copytree(tiny_run.path, tmp_path / "other")
    table = pd.read_csv(other / "predictions_test.csv")
    lump = table["label"] == "lump"
    table.assign(probability=np.where(lump, 0.9, 0.1)).to_csv(
        other / "predictions_test.csv", index=False
    )
    ours = shutil.copytree(tiny_run.path, tmp_path / "ours")
    result = compare_runs(type(tiny_run)(other), type(tiny_run)(ours))
    text = comparison_summary(result)
    assert text.startswith("other minus ours, on the same")
    assert result["metrics"]["roc_auc"]["ours"] == 1
    assert "McNemar" in text
    assert (other / "comparison-ours.json").is_file()
    with pytest.raises(DataError):
        compare_runs(tiny_run, folds.runs[0])
    with pytest.raises(RunError, match="twice"):
        compare_runs(tiny_run, tiny_run)
