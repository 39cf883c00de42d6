"""What class weights and even sampling do to odds is known beforehand."""

import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from breastus.config.schema import TrainingConfig
from breastus.data.manifest.schema import read_manifest
from breastus.runs.run import Run
from breastus.training.prior_correction import prior_correction
from breastus.workflows.evaluate import fit_decision

LABELS = [1] * 6 + [0] * 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.0),
        ({"class_weights": "balanced"}, -np.log(3)),
        ({"sampling": "oversample"}, -np.log(3)),
        ({"sampling": "balanced"}, -np.log(3)),
        ({"class_weights": "balanced", "sampling": "balanced"}, -2 * np.log(3)),
        ({"focal_gamma": 2.0}, 0.0),
    ],
)
def test_by_hand(changes, expected):
    assert prior_correction(TrainingConfig(**changes), LABELS) == pytest.approx(expected)
    assert prior_correction(TrainingConfig(**changes), [1, 1]) == 0


def test_scikit_learn_with_balanced_classes_is_off_by_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 1))
    labels = (rng.random(len(x)) < 1 / (1 + np.exp(-(1.5 + x[:, 0])))).astype(int)
    plain = LogisticRegression(C=np.inf).fit(x, labels)
    balanced = LogisticRegression(C=np.inf, class_weight="balanced").fit(x, labels)
    apart = (balanced.decision_function(x) - plain.decision_function(x)).mean()
    expected = prior_correction(TrainingConfig(class_weights="balanced"), labels)
    assert apart == pytest.approx(expected, abs=0.02)


def test_a_run_takes_it_back(tiny_run, tmp_path):
    shutil.copytree(tiny_run.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert fit_decision(run, run.config.evaluation).calibrator.shift == 0
    changed = run.config.replace({"training": {"class_weights": "balanced"}})
    run.file("config.yaml").write_text(changed.to_yaml())

    decision = fit_decision(Run(run.path), run.config.evaluation)
    manifest = read_manifest(run.file("manifest.csv")).set_index("image_id")
    lines = [line.split(",") for line in run.file("splits.csv").read_text().splitlines()]
    train = manifest.loc[[image for image, split, _ in lines if split == "train"], "label"]
    counts = train.value_counts()
    expected = np.log(counts["no_lump"] / counts["lump"])
    assert decision.calibrator.shift == pytest.approx(expected)
