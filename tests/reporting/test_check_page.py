"""The page of a check: images and what a bundle makes of them, each with its reasons."""

import re

import numpy as np
import pytest

from breastus.data.images import to_png
from breastus.deploy.explainer import Explainer
from breastus.deploy.predictor import Predictor
from breastus.reporting.check_page import Case, check, how_sure
from breastus.reporting.format import rounded_apart


def test_the_check_page(tiny_run, tmp_path, speckle):
    scan = tmp_path / "скан (1).png"
    scan.write_bytes(to_png(speckle(120, 150)))
    bad = tmp_path / "<bad \udce9>.png"
    bad.touch()
    odd = tmp_path / "odd.png"
    odd.write_bytes(to_png(np.full((40, 40, 3), 255, np.uint8)))
    out = tmp_path / "check.html"
    predictor = Predictor(tiny_run.bundle)
    cases = [Case(scan, "benign"), Case(bad), Case(odd)]
    predictions = check(predictor, cases, out, explainer=Explainer(predictor.bundle))
    assert [bool(prediction.error) for prediction in predictions] == [False, True, False]
    html = out.read_text()
    assert "скан (1).png" in html
    assert "Known finding: benign" in html
    assert r"&lt;bad \xe9&gt;.png is empty" in html
    assert "<bad" not in html
    assert "1 image could not be read" in html
    assert "mean grey level, 0 to 255: 255" in html
    assert "has never seen a patient" in html
    assert "not a medical device" in html
    assert not re.findall(r'(?:src|href)="(?!data:)', html)


@pytest.mark.parametrize(
    ("probability", "threshold", "texts"),
    [
        (0.78, 0.858, ("0.780", "0.858")),
        (0.8576, 0.8581, ("0.8576", "0.8581")),
        (0.85799999, 0.858, ("0.85799999", "0.85800000")),
        (0.8581, 0.8581, ("0.858", "0.858")),
        (1.0, 0.9999, ("1.000", "1.000")),
    ],
)
def test_rounding_shows_the_side_of_the_threshold(probability, threshold, texts):
    assert rounded_apart(probability, threshold) == texts


def test_how_sure_counts_validation_images():
    info = {
        "threshold": 0.5,
        "reliability": [
            {"low": 0.1, "high": 0.3, "count": 20, "lumps": 2},
            {"low": 0.4, "high": 0.6, "count": 10, "lumps": 5},
            {"low": 0.8, "high": 0.9, "count": 20, "lumps": 20},
        ],
    }
    low = how_sure(info, 0.0)
    assert "20 validation images with the most similar probability (0.10 to 0.30), 2 had" in low
    assert "Among all validation images it was 54 %." in low
    middle = how_sure(info, 0.62)
    assert "so this probability says little. Either answer is possible" in middle
    high = how_sure(info, 0.85)
    assert "20 had a lump: 100 % (84 to 100 %)" in high
    assert "Either" not in high
    assert "although" not in high
    assert "although the prediction is “no lump”" in how_sure({**info, "threshold": 0.9}, 0.85)
    assert "not measured" in how_sure({"reliability": []}, 0.5)
