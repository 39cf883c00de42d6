"""Scores before and after recalibration, over many draws, as lines of a table."""

import numpy as np
import pandas as pd
import pytest

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.logistic import logit, sigmoid
from breastus.labels import LABELS
from experiments import new_hospital


@pytest.fixture
def elsewhere():
    """150 images of 15 patients, of which the model says too seldom that there is a lump."""
    rng = np.random.default_rng(0)
    right = rng.uniform(0.05, 0.95, 150)
    lump = (rng.random(150) < right).astype(int)
    said = sigmoid(logit(right) - 3)
    return pd.DataFrame(
        {
            "image_id": [f"other/{number}" for number in range(150)],
            "group_id": np.arange(150) // 10,
            "finding": "unknown",
            "label": np.array(LABELS)[lump],
            "split": "test",
            "probability": said,
            "predicted": np.array(LABELS)[(said >= 0.5).astype(int)],
            "threshold": 0.5,
        }
    )


def test_what_is_too_low_is_mended(elsewhere, monkeypatch):
    monkeypatch.setattr(new_hospital, "DRAWS", 5)
    lines = new_hospital.recalibrated(elsewhere, EvaluationConfig())
    means = [[float(cell.split()[0]) for cell in line.split("|")[2:-1]] for line in lines[4:]]
    assert len(means) == 4
    for before, after in (means[:2], means[2:]):
        assert after[3] < 0.7 * before[3]  # calibration error
        assert after[4] < 0.7 * before[4]  # Brier score
        assert before[1] == 0 < after[1]  # sensitivity
    assert "5 draws of 25 and 5 draws of 50 images" in lines[0]


def test_draws_that_cannot_be_judged_do_not_count(elsewhere):
    lines = new_hospital.recalibrated(elsewhere.iloc[:20], EvaluationConfig())
    assert "so that 0 draws of 25 and 0 draws of 50 images do" in lines[0]
    assert len(lines) == 4
