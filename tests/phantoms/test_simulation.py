"""Phantoms are reproducible, their masks fit, and only the lump distinguishes the classes."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from breastus.data.images import read_image
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import has_phantoms
from breastus.data.sources.phantom import write_phantoms
from breastus.errors import DataError
from breastus.phantoms.simulation import simulate_phantom


def test_same_seed_same_pixels():
    first, again = simulate_phantom(3, 7), simulate_phantom(3, 7)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image[:400, :400], simulate_phantom(4, 7).image[:400, :400])


@pytest.mark.parametrize("finding", ["normal", "benign", "malignant"])
def test_masks_cover_the_lump(finding):
    for index in range(5):
        phantom = simulate_phantom(0, index, finding=finding)
        assert phantom.finding == finding
        assert phantom.image.shape == phantom.mask.shape
        assert phantom.image.dtype == phantom.mask.dtype == np.uint8
        share = (phantom.mask > 0).mean()
        assert share == 0 if finding == "normal" else 0.002 < share < 0.5


def test_lumps_are_darker_than_their_surroundings():
    darker = 0
    for index in range(12):
        phantom = simulate_phantom(5, index, finding="benign")
        rows, columns = np.nonzero(phantom.mask)
        beside = phantom.image[rows.min() : rows.max() + 1][
            phantom.mask[rows.min() : rows.max() + 1] == 0
        ]
        darker += phantom.image[rows, columns].mean() < beside.mean()
    assert darker >= 10


def test_speckle_is_fully_developed():
    # A Rayleigh envelope has a mean 1.91 times its standard deviation; log compression of it
    # spreads by 5.57 dB whatever the strength (Burckhardt, IEEE Trans. Sonics Ultrason. 25, 1978).
    phantom = simulate_phantom(0, 0, finding="normal")
    image = phantom.image.astype(float)
    patches = [
        image[r : r + 24, c : c + 24]
        for r in range(150, 330, 24)
        for c in range(100, 380, 24)
        if 30 < image[r : r + 24, c : c + 24].mean() < 220
    ]
    levels_per_db = 255 / 60  # the middle of the simulated dynamic ranges
    spread = np.median([patch.std() for patch in patches]) / levels_per_db
    assert 3 < spread < 8


@pytest.mark.slow
def test_brightness_and_size_do_not_tell_the_class():
    phantoms = [simulate_phantom(11, index) for index in range(200)]
    lump = [p.finding != "normal" for p in phantoms]
    for measure in (
        lambda p: p.image.mean(),
        lambda p: p.image.shape[0],
        lambda p: p.image.shape[1],
        lambda p: p.image.std(),
    ):
        assert 0.35 < roc_auc_score(lump, [measure(p) for p in phantoms]) < 0.65


def test_a_folder_of_phantoms(tmp_path):
    folder = write_phantoms(tmp_path / "phantoms", count=6, seed=2)
    images = sorted(p for p in folder.rglob("*.png") if "mask" not in p.name)
    assert len(images) == 6
    for path in images:
        mask = path.with_name(f"{path.stem}_mask.png")
        assert mask.exists() == ("normal" not in path.name)
        if mask.exists():
            assert set(np.unique(read_image(mask))) <= {0, 255}
    table = load_manifest(folder)
    assert has_phantoms(table)
    assert (table["mask_paths"] != "").sum() == (table["label"] == "lump").sum()
    assert set(table["flags"]) == {"simulated"}

    before = images[0].stat().st_mtime_ns
    write_phantoms(folder, count=6, seed=2)
    assert images[0].stat().st_mtime_ns == before
    write_phantoms(folder, count=4, seed=2)
    assert len([p for p in folder.rglob("*.png") if "mask" not in p.name]) == 4


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(DataError, match="something other than phantoms"):
        write_phantoms(tmp_path, count=4, seed=0)
