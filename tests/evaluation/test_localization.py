"""Lesion maps and masks: worked examples, and intervals that are as wide as the images allow."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from breastus.evaluation.localization import (
    centre_map,
    localization,
    mass_inside,
    points_inside,
    rank_correlation,
)
from breastus.evaluation.options import EvaluationOptions

OPTIONS = EvaluationOptions(resamples=500)


def quarter(side: int = 8) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[: side // 2, : side // 2] = True
    return mask


def test_the_brightest_place_decides_the_pointing_game():
    found = np.zeros((8, 8), np.float32)
    found[1, 1], found[6, 6] = 0.9, 0.8
    assert points_inside(found, quarter())
    found[6, 6] = 0.95
    assert not points_inside(found, quarter())
    # A map that says nothing must not hit because its first pixel lies in the lesion.
    assert not points_inside(np.zeros((8, 8), np.float32), quarter())


def test_mass_inside_is_a_share_of_the_sum():
    found = np.zeros((8, 8), np.float32)
    found[0, 0], found[7, 7] = 1.0, 3.0
    assert mass_inside(found, quarter()) == pytest.approx(0.25)
    assert mass_inside(np.ones((8, 8)), quarter()) == pytest.approx(0.25)
    assert mass_inside(np.zeros((8, 8)), quarter()) == 0.0


@pytest.mark.parametrize("side", [7, 8])
def test_the_baseline_points_at_the_centre(side):
    found = centre_map(side)
    middle = np.zeros((side, side), bool)
    middle[(side - 1) // 2 : side // 2 + 1, (side - 1) // 2 : side // 2 + 1] = True
    assert points_inside(found, middle)
    assert not points_inside(found, ~middle)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, (2, 6, 6))
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel())[0])
    assert rank_correlation(one, np.zeros((6, 6))) == 0.0


def scores(hits, centre_hits, groups):
    mass = np.full(len(hits), 0.3)
    images = {"hit": hits, "centre_hit": centre_hits, "mass": mass, "centre_mass": mass / 3}
    return localization(images, groups, options=OPTIONS)


def test_a_map_is_better_than_the_centre_only_beyond_chance():
    groups = [f"scene {number}" for number in range(40)]
    better = scores([1] * 32 + [0] * 8, [1] * 10 + [0] * 30, groups)
    assert better["pointing_game"]["value"] == pytest.approx(0.8)
    assert better["centre_pointing_game"]["value"] == pytest.approx(0.25)
    assert better["pointing_game_difference"]["value"] == pytest.approx(0.55)
    assert better["mass_difference"]["value"] == pytest.approx(0.2)
    assert better["better_than_centre"]
    # As many images of few patients say less.
    few = scores([1] * 32 + [0] * 8, [1] * 10 + [0] * 30, np.repeat(["a", "b", "c", "d"], 10))
    assert few["pointing_game_difference"]["ci_low"] < better["pointing_game_difference"]["ci_low"]
    same = scores([1, 0] * 20, [0, 1] * 20, groups)
    assert same["pointing_game_difference"]["value"] == 0
    assert not same["better_than_centre"]


def test_the_difference_is_paired():
    groups = list(range(40))
    hits, rng = np.array([1] * 24 + [0] * 16), np.random.default_rng(0)
    centre = hits.copy()
    centre[:6] = 0
    paired = scores(hits, centre, groups)["pointing_game_difference"]
    apart = scores(hits, rng.permutation(centre), groups)["pointing_game_difference"]
    assert paired["value"] == apart["value"]
    assert paired["ci_high"] - paired["ci_low"] < 0.8 * (apart["ci_high"] - apart["ci_low"])


def test_unanimous_images_are_not_certain():
    entry = scores([1] * 3, [0] * 3, ["a", "b", "c"])["pointing_game_difference"]
    assert entry["value"] == entry["ci_high"] == 1
    assert 0.3 < entry["ci_low"] < 0.6
    none = scores([1] * 30, [1] * 30, list(range(30)))["pointing_game_difference"]
    assert none["ci_low"] < 0 < none["ci_high"]
    assert np.isnan(scores([1], [0], ["a"])["pointing_game_difference"]["ci_low"])
    assert not scores([1], [0], ["a"])["better_than_centre"]
