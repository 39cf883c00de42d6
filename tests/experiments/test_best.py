"""The best recipe: its settings hold together, and one command goes from images to both scores."""

import json
from pathlib import Path

import pytest

from breastus.augmentation.policies import check_policy
from breastus.models.registry import list_models
from breastus.training.stages import stages_of
from experiments.recipes import best


@pytest.mark.parametrize("network", best.VIEWS)
def test_its_settings_leave_the_backbone_as_it_came(network):
    config = best.recipe(network)
    assert config.model.name == network
    assert network in list_models()
    assert config.model.weights == "imagenet"  # frozen random weights would be of no use
    assert [stage.head_only for stage in stages_of(config.training)] == [True]
    check_policy(config.augmentation.policy)


def test_each_network_has_a_title_of_its_own():
    titles = [best.introduction(network, 1)[0] for network in best.VIEWS]
    assert titles == [
        "## The best recipe known here: how good it is, inside and at another hospital, and its "
        "bundle.",
        "## The best recipe, with `efficientnet_mil_ensemble`",
    ]


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
    arguments += ["--readme", str(tmp_path / "README.md")]
    monkeypatch.setattr("sys.argv", arguments)
    best.main()
    info = json.loads((tmp_path / "best" / "bundle.json").read_text())
    assert info["model"] == f"6 x {best.NETWORK}"  # two rotations are all that three folds allow
    text = Path(tmp_path, "RESULTS.md").read_text()
    assert "| inside, out of fold | " in text
    assert "| outside, the bundle | " in text
    assert "Outside: 8 images" in text
    assert "Of each network by itself the ROC-AUC is " in text
    assert "Of each fold's 2 networks together it is " in text
    assert f"threshold, {info['threshold']:.3f}: " in text
    assert "of 4 lumps found" in text
    short = Path(tmp_path, "README.md").read_text()
    assert short.count("| inside, out of fold | ") == short.count("| outside, the bundle | ") == 1
    for rule, changes in best.RULES.items():
        (outside,) = [line for line in text.splitlines() if line.startswith(f"| {rule}: outside")]
        assert f"| {rule}: inside | " in text
        if not changes:  # the recipe's own rule is the bundle's
            assert outside.split(" | ")[1] == f"{info['threshold']:.2f}"
            (main,) = [line for line in text.splitlines() if "outside, the bundle" in line]
            assert outside.split(" | ")[2:] == main.split(" | ")[1:]
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("folds/*/best.keras")}
    best.main()  # what is finished is kept
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert len(written) == 6
