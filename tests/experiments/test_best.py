"""The best recipe: its settings hold together, and one command goes from images to both scores."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from breastus.augmentation.policies import check_policy
from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.logistic import logit, sigmoid
from breastus.labels import LABELS
from breastus.models.registry import list_models
from breastus.training.stages import stages_of
from experiments.recipes import best


@pytest.mark.parametrize("network", best.VIEWS)
def test_the_recipe_keeps_the_backbone_frozen(network):
    config = best.recipe(network)
    assert config.model.name == network
    assert network in list_models()
    assert config.model.weights == "imagenet"  # frozen random weights would be of no use
    assert [stage.head_only for stage in stages_of(config.training)] == [True]
    check_policy(config.augmentation.policy)


def test_each_network_has_its_own_heading():
    titles = [best.heading(network, 1)[0] for network in best.VIEWS]
    assert len(set(titles)) == len(titles)
    assert all(title.startswith("## The best recipe") for title in titles)
    assert "efficientnet_mil_ensemble" in titles[1]


@pytest.mark.slow
def test_from_images_to_scores_inside_and_outside(tmp_path, monkeypatch, write_image):
    for number, label in enumerate(["lump", "no_lump"] * 4):
        write_image(tmp_path / "elsewhere" / label / f"{number}.png", number)
    changes = {
        "data.phantom_images": 40,
        "model.image_size": 64,
        "model.weights": "null",
        "training.epochs": 1,
        "training.head_epochs": 1,
        "training.batch_size": 8,
        "evaluation.resamples": 100,
    }
    settings = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    arguments = ["best.py", "--data", "phantom", "--folds", "3", "--out", str(tmp_path / "folds")]
    arguments += ["--outside", str(tmp_path / "elsewhere"), "--publish", str(tmp_path / "best")]
    arguments += ["--results", str(tmp_path / "RESULTS.md"), *settings]
    monkeypatch.setattr("sys.argv", arguments)
    best.main()
    info = json.loads((tmp_path / "best" / "bundle.json").read_text())
    assert info["model"] == f"6 x {best.NETWORK}"  # two rotations are all that three folds allow
    text = Path(tmp_path, "RESULTS.md").read_text()
    assert "| inside, out of fold | " in text
    assert "| outside, the bundle | " in text
    assert "Outside: 8 images" in text
    assert "ROC-AUC of the single networks: " in text
    assert "of the 2 averaged networks: " in text
    assert f" {info['threshold']:.3f}, it finds " in text
    assert "of 4 lumps" in text
    for rule, changes in best.RULES.items():
        (outside,) = [line for line in text.splitlines() if line.startswith(f"| {rule}: outside")]
        assert f"| {rule}: inside | " in text
        if not changes:  # the recipe's own rule is the bundle's
            assert outside.split(" | ")[1] == f"{info['threshold']:.2f}"
            (main,) = [line for line in text.splitlines() if "outside, the bundle" in line]
            assert outside.split(" | ")[2:] == main.split(" | ")[1:]
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("folds/*/best.keras")}
    best.main()  # finished runs are kept
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert len(written) == 6


@pytest.fixture
def outside():
    """150 images of 15 patients, for which the predicted probabilities are too low."""
    rng = np.random.default_rng(0)
    true_probability = rng.uniform(0.05, 0.95, 150)
    lump = (rng.random(150) < true_probability).astype(int)
    predicted = sigmoid(logit(true_probability) - 3)
    return pd.DataFrame(
        {
            "image_id": [f"other/{number}" for number in range(150)],
            "group_id": np.arange(150) // 10,
            "finding": "unknown",
            "label": np.array(LABELS)[lump],
            "split": "test",
            "probability": predicted,
            "predicted": np.array(LABELS)[(predicted >= 0.5).astype(int)],
            "threshold": 0.5,
        }
    )


def test_recalibration_raises_probabilities_that_are_too_low(outside, monkeypatch):
    monkeypatch.setattr(best, "DRAWS", 5)
    lines = best.recalibration(outside, EvaluationConfig())
    means = [[float(cell.split()[0]) for cell in line.split("|")[2:-1]] for line in lines[4:]]
    assert len(means) == 4
    for before, after in (means[:2], means[2:]):
        assert after[3] < 0.7 * before[3]  # calibration error
        assert after[4] < 0.7 * before[4]  # Brier score
        assert before[1] == 0 < after[1]  # sensitivity
    assert "5 draws of 25 and 5 draws of 50 images" in lines[0]


def test_draws_with_too_few_images_are_skipped(outside):
    lines = best.recalibration(outside.iloc[:20], EvaluationConfig())
    assert "0 draws of 25 and 0 draws of 50 images" in lines[0]
    assert len(lines) == 4
