"""Networks that learn findings: their classes, their prior correction, and what they are merged to.

One contract holds for all ways of training: a run of findings is trained, predicted, evaluated and
exported like a run of labels, and its findings agree with its label everywhere.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from fitting import assert_equal, fit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix

from breastus.config.schema import TrainingConfig
from breastus.data.images import read_image, to_png
from breastus.deploy.bundle import Bundle
from breastus.deploy.predictor import Predictor
from breastus.errors import DataError, ModelError, RunError
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.predictions import finding_probabilities, prediction_columns
from breastus.labels import KNOWN_FINDINGS
from breastus.runs.run import Run
from breastus.training.prior_correction import (
    check_correctable,
    correct_findings,
    prior_correction_of,
)
from breastus.training.targets import check_target, class_ids
from breastus.workflows.cross_validate import cross_validate
from breastus.workflows.ensemble import export_ensemble
from breastus.workflows.evaluate import evaluate_run
from breastus.workflows.pooled_decision import mean_predictions
from breastus.workflows.pretrain import pretrain
from breastus.workflows.train import train
from breastus.workflows.validate_externally import evaluate_external

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


def table(*rows):
    columns = ["image_id", "split", "label", "finding"]
    return pd.DataFrame([(str(n), *row) for n, row in enumerate(rows)], columns=columns)


def test_an_image_without_a_lump_is_normal_whatever_its_finding_is():
    rows = table(
        ("train", "no_lump", "normal"),
        ("train", "no_lump", "unknown"),
        ("train", "lump", "benign"),
        ("train", "lump", "malignant"),
    )
    assert class_ids(rows, "finding") == [0, 0, 1, 2]
    assert class_ids(rows, "label") == [0, 0, 1, 1]
    check_target(rows, "finding")


def test_lumps_of_unknown_finding_are_refused_in_training_and_tested():
    known = [("train", "no_lump", "normal"), ("train", "lump", "benign")]
    known += [("train", "lump", "malignant"), ("val", "lump", "benign")]
    check_target(table(*known, ("test", "lump", "unknown")), "finding")
    rows = table(*known, ("train", "lump", "unknown"), ("val", "lump", "unknown"))
    with pytest.raises(DataError, match=r"2 of 6 images.*such as 4.*target=label"):
        check_target(rows, "finding")
    check_target(rows, "label")
    with pytest.raises(DataError, match=r"no image of malignant.*target=label"):
        check_target(table(*known[:2], known[3]), "finding")


# === The prior correction ===


def softmax_network(weights, bias):
    inputs = keras.Input((weights.shape[0],))
    outputs = keras.layers.Dense(3, "softmax", name="probabilities")(inputs)
    model = keras.Model(inputs, outputs)
    model.set_weights([weights, bias])
    return model


def test_scikit_learn_with_balanced_findings_is_corrected_to_the_plain_fit():
    """Also of benign and malignant among the lumps, which one shift of lump cannot do."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 2))
    odds = np.exp(np.stack([0 * x[:, 0], 1.5 + x[:, 0], -0.5 + x[:, 1]], axis=1))
    chance = odds.cumsum(axis=1) / odds.sum(axis=1, keepdims=True)
    labels = (rng.random((len(x), 1)) > chance).sum(axis=1)
    plain = LogisticRegression(C=np.inf).fit(x, labels)
    balanced = LogisticRegression(C=np.inf, class_weight="balanced").fit(x, labels)
    model = softmax_network(balanced.coef_.T, balanced.intercept_)
    settings = TrainingConfig(target="finding", class_weights="balanced")
    before = model.predict(x[:500], verbose=0)
    assert correct_findings(model, settings, labels)
    expected = plain.predict_proba(x[:500])
    assert np.abs(before - expected).max() > 0.1
    np.testing.assert_allclose(model.predict(x[:500], verbose=0), expected, atol=0.02)


@pytest.mark.parametrize(
    "settings", [{"target": "finding"}, {"target": "label", "class_weights": "balanced"}]
)
def test_nothing_else_is_corrected(settings):
    model = softmax_network(np.eye(2, 3), np.arange(3.0))
    assert not correct_findings(model, TrainingConfig(**settings), [0, 1, 1, 2])
    np.testing.assert_array_equal(model.layers[-1].bias, [0, 1, 2])


def test_a_network_without_a_last_bias_is_refused_before_its_training():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(inputs))
    check_correctable(model, TrainingConfig(target="finding"))
    with pytest.raises(ModelError, match=r"named probabilities with a bias.*sampling=all"):
        check_correctable(model, TrainingConfig(target="finding", sampling="balanced"))


# === One contract for all ways of training ===

BALANCED = {
    "training": {
        "class_weights": "balanced",
        "sampling": "balanced",
        "label_smoothing": 0.1,
        "focal_gamma": 1.0,
    }
}
WAYS = {
    "plain": {},
    "mixup": {"augmentation": {"mixup": 0.2}},
    "frozen backbone": {"training": {"head_epochs": 1}},
    "cached features": {"training": {"head_epochs": 2, "cached_views": 2}},
    "masks": {
        "model": {"name": "compact"},
        "training": {"mask_weight": 1.0, "checkpoint": "accuracy"},
    },
    "average and parts": {"training": {"ema": 0.9, "accumulation_steps": 2}},
    "float16": {"training": {"precision": "mixed_float16"}},
    "views and Platt": {"evaluation": {"tta": "flip", "calibration": "platt"}},
    "isotonic": {"evaluation": {"calibration": "isotonic"}},
    "accuracy, raw": {"training": {"checkpoint": "accuracy"}, "preprocessing": {"scaling": "raw"}},
    "last, unit, PARULA": {
        "training": {"checkpoint": "last"},
        "preprocessing": {"scaling": "unit", "color": "parula"},
    },
}


@pytest.fixture(scope="module")
def config(tiny_config):
    return tiny_config.replace({"training": {"target": "finding", "learning_rate": 1e-4}})


def assert_contract(run):
    """Assert that files, bundle and pages of a run of findings agree with each other."""
    assert np.isfinite(run.history["loss"]).all()
    assert keras.models.load_model(run.network).output_shape == (None, 3)
    test = run.read_predictions("test")
    findings = finding_probabilities(test)
    np.testing.assert_allclose(findings[:, 1:].sum(axis=1), test["probability"])

    by_finding = np.array(run.metrics["test"]["finding_confusion_matrix"])
    by_label = np.array(run.metrics["test"]["confusion_matrix"])
    merged = np.add.reduceat(np.add.reduceat(by_finding, [0, 1], axis=0), [0, 1], axis=1)
    np.testing.assert_array_equal(merged, by_label)
    assert_bundle(run.bundle, run, test)
    assert "Confusion matrix by finding" in run.report.read_text()


def assert_bundle(folder, run, test):
    """Assert that a bundle returns the predictions of a table."""
    bundle = Bundle.load(folder)
    assert bundle.metadata["findings"] == list(KNOWN_FINDINGS)
    assert bundle.metadata["labels"] == ["no_lump", "lump"]
    assert "By finding (rows actual" in (folder / "MODEL_CARD.md").read_text()
    served = tf.saved_model.load(str(folder / "saved_model")).signatures
    paths = run.read_images().set_index("image_id").loc[test["image_id"], "path"].tolist()
    encoded = tf.constant([to_png(read_image(path)) for path in paths])
    found = served["predict_bytes"](encoded)
    assert found["probabilities"].shape == (len(test), 2)
    assert found["findings"].dtype == tf.float32
    np.testing.assert_allclose(found["findings"], finding_probabilities(test), atol=1e-4)
    np.testing.assert_allclose(
        tf.reduce_sum(found["findings"][:, 1:], axis=1), found["lump"], atol=1e-6
    )
    empty = served["serving_uint8"](images=tf.zeros([0, 40, 40, 3], tf.uint8))
    assert empty["findings"].shape == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_training_keeps_the_contract(config, tmp_path, way):
    run = train(
        WAYS[way].get("model", {}).get("name", "cnn"),
        config=config.replace(WAYS[way]),
        out=tmp_path / "run",
    )
    assert_contract(run)


@pytest.fixture(scope="module")
def finding_run(config, tmp_path_factory):
    """A run with class weights, even sampling, label smoothing and focal loss by finding."""
    balanced = config.replace(BALANCED)
    return train("cnn", config=balanced, out=tmp_path_factory.mktemp("findings") / "run")


def test_balanced_findings_keep_the_contract(finding_run):
    assert_contract(finding_run)
    assert prior_correction_of(finding_run) == 0  # it was made in the network


def test_predictions_by_finding(finding_run, tmp_path):
    predictor = Predictor(finding_run)
    rows = finding_run.read_images()
    found = predictor(rows["path"].tolist()[:3])
    for one in found:
        assert list(one.findings) == list(KNOWN_FINDINGS)
        assert one.findings["benign"] + one.findings["malignant"] == pytest.approx(one.probability)
        assert json.loads(json.dumps(one.to_dict()))["findings"] == one.findings
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert predictor([tmp_path / "broken.png"])[0].to_dict()["findings"] is None


def test_a_network_of_labels_has_no_findings(tiny_run):
    bundle = Bundle.load(tiny_run.bundle)
    assert bundle.metadata["findings"] is None
    image = tiny_run.read_images()["path"].iloc[0]
    assert Predictor(tiny_run)(image).to_dict()["findings"] is None
    assert "finding_confusion_matrix" not in tiny_run.metrics["test"]
    assert "Confusion matrix by finding" not in tiny_run.report.read_text()
    served = tf.saved_model.load(str(tiny_run.bundle / "saved_model"))
    outputs = set(served.signatures["predict_bytes"].structured_outputs)
    assert outputs == {"probabilities", "lump", "distance"}


def test_the_matrix_by_finding_equals_scikit_learn(finding_run):
    test = finding_run.read_predictions("test")
    by_finding = finding_probabilities(test)
    kind = np.where(by_finding[:, 2] > by_finding[:, 1], "malignant", "benign")
    predicted = np.where(test["predicted"] == "lump", kind, "normal")
    expected = confusion_matrix(test["finding"], predicted, labels=list(KNOWN_FINDINGS))
    assert finding_run.metrics["test"]["finding_confusion_matrix"] == expected.tolist()


@pytest.mark.slow
def test_evaluated_again_and_elsewhere(finding_run, phantoms, tmp_path):
    run = Run(shutil.copytree(finding_run.path, tmp_path / "run"))
    evaluate_run(run, settings=["evaluation.calibration=platt", "evaluation.threshold=0.4"])
    assert_contract(Run(run.path))
    shutil.copytree(run.path / "bundle", tmp_path / "bundle")
    held_out = run.read_images().query("split == 'test'")
    rows = held_out[["path", "label"]].assign(finding=held_out["finding"])
    lump = rows.index[rows["label"] == "lump"][0]
    rows.loc[lump, "finding"] = "unknown"  # it is tested by its label
    rows.rename(columns={"path": "image"}).to_csv(tmp_path / "new.csv", index=False)
    external = evaluate_external(tmp_path / "bundle", tmp_path / "new.csv", out=tmp_path / "report")
    found = external.metrics["test"]["finding_confusion_matrix"]
    assert np.sum(found) == len(held_out) - 1
    assert np.sum(external.metrics["test"]["confusion_matrix"]) == len(held_out)


@pytest.mark.slow
def test_an_ensemble_averages_the_findings_and_then_merges_them(config, finding_run, tmp_path):
    other_run = train("cnn", config=config, out=tmp_path / "other")
    export_ensemble([finding_run, other_run], tmp_path / "two")
    tests = [run.read_predictions("test") for run in (finding_run, other_run)]
    logs = [np.log(finding_probabilities(one, column="probability_uncalibrated")) for one in tests]
    mean = np.exp(np.mean(logs, axis=0))
    expected = pd.DataFrame(prediction_columns(mean), index=tests[0]["image_id"]).sort_index()
    found = mean_predictions([finding_run, other_run], "test").set_index("image_id")
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_names=False)
    metadata = Bundle.load(tmp_path / "two").metadata
    decision = Decision.from_dict(metadata["metrics"]["decision"])
    assert_bundle(tmp_path / "two", finding_run, decision.apply(found.reset_index()))


def test_labels_and_findings_are_not_averaged(finding_run, tiny_run, tmp_path):
    with pytest.raises(RunError, match=r"same training\.target"):
        export_ensemble([finding_run, tiny_run], tmp_path / "two")


@pytest.mark.slow
def test_cross_validation_pools_findings(config, tmp_path):
    result = cross_validate(
        "cnn", config=config, out=tmp_path / "cv", folds=3, repeats=2, val_rotations=2, epochs=1
    )
    matrix = np.array(result.metrics["finding_confusion_matrix"])
    assert matrix.sum() == len(result.read_manifest())
    assert "Confusion matrix by finding" in result.report.read_text()


@pytest.mark.slow
def test_interrupted_and_resumed(config, tables, tmp_path, interrupted):
    for checkpoint in ("accuracy", "last"):
        settings = {"training": {"checkpoint": checkpoint, "epochs": 3}}
        whole = fit(tmp_path / checkpoint, config.replace(settings), tables)
        again = interrupted(
            tmp_path / f"{checkpoint}-2", config.replace(settings), tables, epoch=2, step=1
        )
        assert_equal(whole, again)


@pytest.mark.slow
@pytest.mark.parametrize("on", ["phantoms", "images"])
def test_a_pretrained_backbone_takes_either_head(config, phantoms, tmp_path, on):
    small = config.replace({"training": {"epochs": 1, "warmup_epochs": 0.0, "mask_weight": 0.0}})
    folder = pretrain(
        "cnn",
        on=on,
        config=small,
        out=tmp_path / "weights",
        **({"phantoms": 8} if on == "phantoms" else {"patch": 16}),
    )
    run = train(
        "cnn", config=config.replace({"model": {"weights": str(folder)}}), out=tmp_path / "run"
    )
    assert_contract(run)


_ON_TWO_DEVICES = """
import sys
from pathlib import Path

import tensorflow as tf

processor = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(processor, [half, half])

from breastus.config.schema import Config
from breastus.workflows.train import train

train("cnn", config=Config.from_yaml(sys.argv[1]), out=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_two_devices(config, tmp_path):
    settings = {"training": {"devices": 2, "class_weights": "balanced"}}
    (tmp_path / "config.yaml").write_text(config.replace(settings).to_yaml())
    command = [sys.executable, "-W", "ignore", "-c", _ON_TWO_DEVICES]
    paths = [str(tmp_path / "config.yaml"), str(tmp_path / "run")]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr[-3000:]
    assert_contract(Run(tmp_path / "run"))
