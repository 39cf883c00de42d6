"""The benchmark of unfamiliar images: distances of each kind against a run's test images."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import unfamiliar
from experiments.benchmarks.unfamiliar import BREAST, OTHER, ULTRASOUND, Other

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


def test_each_kind_is_compared_with_the_test_images_of_the_run(tiny_run, monkeypatch, speckle):
    def images(data: Path):
        for number in range(6):
            kind = (BREAST, ULTRASOUND, OTHER)[number % 3]
            stripes = np.zeros((64, 64, 3), np.uint8)
            stripes[:: number + 2] = 255
            pixels = stripes if kind == OTHER else speckle(64, 64, number)
            yield Other(kind, f"source {number % 3}", f"image {number}", pixels)

    monkeypatch.setattr(unfamiliar, "other_images", images)
    rows = unfamiliar.measure(tiny_run, Path())
    assert [row["images"] for row in rows] == [8, 2, 2, 2, 2, 2]
    assert rows[0]["roc_auc"] is None
    assert all(0 <= row["roc_auc"]["value"] <= 1 for row in rows[1:])
    record = {"code_version": "1", "facts": {}, "rows": json.loads(json.dumps(rows))}
    text = unfamiliar.section(record)
    assert "| test images of the run | 8 |" in text
    assert f"| all of {OTHER} |" in text
