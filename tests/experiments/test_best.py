"""The best recipe: its settings hold together, and one command goes from images to records."""

import json

import numpy as np
import pytest

from breastus.config.presets import default_config
from breastus.training.stages import stages_of
from experiments import records
from experiments.recipes import best


def test_the_recipe_keeps_the_backbone_frozen():
    config = default_config(best.NETWORK)
    assert config.model.weights == "auto"
    assert [stage.head_only for stage in stages_of(config.training)] == [True]


def test_half_size_keeps_the_middle_and_a_quarter_of_the_area():
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:40, 16:48] = 200
    small = best.half_size(image)
    assert (small > 100).sum() * 4 == (image > 100).sum()
    assert (small[28:36, 24:40] == 200).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # few groups leave much undefined
def test_from_images_to_a_bundle_and_records(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    changes = {
        "data.phantom_images": 40,
        "model.image_size": 128,
        "model.weights": "null",
        "training.epochs": 1,
        "training.head_epochs": 1,
        "training.warmup_epochs": 0,
        "training.batch_size": 8,
        "evaluation.resamples": 100,
    }
    settings = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    arguments = ["best.py", "--data", "phantom", "--folds", "3", "--out", str(tmp_path / "folds")]
    arguments += ["--publish", str(tmp_path / "best"), "--record", *settings]
    monkeypatch.setattr("sys.argv", arguments)
    best.main()
    info = json.loads((tmp_path / "best" / "bundle.json").read_text())
    assert info["model"] == f"3 x {best.NETWORK}"
    found = {record.variant: record for record in records.read_records("best")}
    assert set(found) == set(best.VARIANTS)
    plain, half = (found[name].split("test") for name in (best.UNALTERED, best.HALF))
    assert sorted(plain["image_id"]) == sorted(half["image_id"])
    assert not plain["image_id"].duplicated().any()
    assert not np.allclose(plain["probability_uncalibrated"], half["probability_uncalibrated"])
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("folds/*/best.keras")}
    best.main()  # finished runs are kept
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert len(written) == 3
