"""The linear probe: training images alone are fitted, and the predictions are a model's."""

import numpy as np
import pytest

from breastus.errors import ConfigError, DataError, RunError
from breastus.evaluation.predictions import read_predictions
from breastus.workflows import probe_vlm as module
from breastus.workflows.probe_vlm import probe_vlm

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined
FAST = {"resamples": 100}


@pytest.fixture(autouse=True)
def _tower(monkeypatch):
    """A tower whose features are grey levels, four patches of a 6th of the image."""
    import breastus.vlm.llava as llava

    monkeypatch.setattr(module, "find_checkpoint", lambda model: model)
    monkeypatch.setattr(llava, "load_tower", lambda checkpoint, tower: None)

    def features(tower, image):
        rows, columns = np.array(image.shape[:2]) // 8
        small = image[: rows * 8, : columns * 8, 0].reshape(8, rows, 8, columns).mean((1, 3))
        return np.stack([small.ravel()] * 4)

    monkeypatch.setattr(llava, "patch_features", features)


def test_predictions_and_scores_are_those_of_a_model(phantoms, tmp_path):
    report = probe_vlm("tower", data=phantoms, out=tmp_path / "probe.csv", **FAST)
    table = read_predictions(report.out)
    assert set(table["split"]) == {"val", "test"}
    test = table[table["split"] == "test"]
    assert report.metrics["test"]["n"] == len(test)
    assert report.training_images + len(table) == 40
    assert (test["predicted"] == "lump").equals(test["probability"] >= test["threshold"])
    assert f"Linear probe on {report.training_images} images" in report.summary


def test_shots_are_drawn_from_the_training_images(phantoms, tmp_path):
    few, again = (
        probe_vlm("tower", data=phantoms, shots=3, out=tmp_path / name, **FAST)
        for name in ("few.csv", "again.csv")
    )
    assert few.training_images == 6
    assert few.table.equals(again.table)
    with pytest.raises(DataError, match="needs 30 training images of each class"):
        probe_vlm("tower", data=phantoms, shots=30, out=tmp_path / "many.csv", **FAST)
    with pytest.raises(ConfigError, match="shots"):
        probe_vlm("tower", data=phantoms, shots=0, out=tmp_path / "none.csv", **FAST)


def test_nothing_is_overwritten(phantoms, tmp_path):
    (tmp_path / "probe.csv").touch()
    with pytest.raises(RunError, match="exists"):
        probe_vlm("tower", data=phantoms, out=tmp_path / "probe.csv")
