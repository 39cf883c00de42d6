"""What is measured of images and masks, and what is said of those that cannot be read."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from breastus.auditing.measure import measure
from breastus.data.image_statistics import STATISTICS, image_statistics
from breastus.data.images import read_image, to_png


def _mask(height=64, width=80, level=255):
    pixels = np.zeros((height, width), np.uint8)
    pixels[:16] = level
    return pixels


@pytest.fixture
def row(tmp_path, write_image):
    """A function (masks=pixels or bytes, ...) -> what is measured of one image with such masks."""

    def make(*masks, image=None):
        path = tmp_path / "scan.png"
        if image is None:
            write_image(path)
        else:
            path.write_bytes(image)
        names = []
        for number, mask in enumerate(masks):
            names.append(tmp_path / f"mask {number}.png")
            names[-1].write_bytes(mask if isinstance(mask, bytes) else to_png(mask))
        table = pd.DataFrame(
            {"image_id": ["x/scan"], "path": [str(path)], "mask_paths": [";".join(map(str, names))]}
        )
        return measure(table).loc["x/scan"]

    return make


def test_statistics_are_those_of_the_image(row, tmp_path):
    found = row()
    expected = image_statistics(read_image(tmp_path / "scan.png"))
    assert {name: found[name] for name in STATISTICS} == expected
    assert (found["masks"], found["problem"], found["mask_problem"]) == (0, "", "")
    assert np.isnan(found["mask_share"])


@pytest.mark.parametrize("level", [255, 1])  # masks may hold class numbers
def test_a_mask_is_what_is_not_black(row, level):
    found = row(_mask(level=level))
    assert found["mask_share"] == 0.25
    assert not found["mask_resized"]


def test_a_coloured_mask_and_the_largest_of_several(row):
    green = np.stack([np.zeros((64, 80), np.uint8), _mask(), np.zeros((64, 80), np.uint8)], -1)
    found = row(_mask(level=0), green)
    assert (found["masks"], found["mask_share"]) == (2, 0.25)


def test_an_empty_mask_and_one_of_another_size(row):
    assert row(_mask(level=0))["mask_share"] == 0
    assert row(_mask(), _mask(width=40))["mask_resized"]


def test_noise_of_jpeg_is_no_lesion(row, tmp_path):
    noise = np.random.default_rng(0).integers(0, 4, (64, 80)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg", quality=95)
    assert row((tmp_path / "noise.jpg").read_bytes())["mask_share"] == 0


def test_what_cannot_be_read_is_named_without_its_folder(row, tmp_path):
    found = row(b"no mask", image=b"no image")
    assert found["problem"].startswith("scan.png is not a PNG")
    assert found["mask_problem"].startswith("mask 0.png is not a PNG")
    assert np.isnan(found["brightness"])
    assert str(tmp_path) not in found["problem"] + found["mask_problem"]
