"""Corruptions: the same by seed, stronger by severity, black and grey where they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from breastus.data.annotations.drawing import MIN_SIDE as ANNOTATION_MIN_SIDE
from breastus.errors import ImageError
from breastus.evaluation.robustness.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    SMALLEST,
)

EACH = pytest.mark.parametrize("name", CORRUPTIONS)
OF_LEVEL = ("gain_up", "gain_down", "depth_attenuation", "speckle", "shadow")
RANDOM = ("speckle", "shadow", "calipers")


def distance(one, other):
    return float(np.square(one.astype(float) - other).mean())


def flat(level, height=160, width=200):
    return np.full((height, width, 3), level, np.uint8)


@EACH
def test_seeds_repeat(name, speckle):
    image = speckle(140, 180)
    before = image.copy()
    first = CORRUPTIONS[name](image, 3, seed=5)
    np.testing.assert_array_equal(first, CORRUPTIONS[name](image, 3, seed=5))
    assert (first.dtype, first.shape) == (np.uint8, image.shape)
    assert np.array_equal(first, CORRUPTIONS[name](image, 3, seed=6)) == (name not in RANDOM)
    np.testing.assert_array_equal(image, before)  # the caller's array is unchanged


@EACH
@pytest.mark.parametrize("seed", [0, 1])
def test_each_severity_is_further_from_the_image(name, seed, speckle):
    image = speckle(300, 240, seed)
    away = [distance(CORRUPTIONS[name](image, s, seed=seed), image) for s in SEVERITIES]
    assert (np.diff([0, *away]) > 0).all()


@EACH
def test_five_severities_have_a_title_and_a_reason(name):
    entry = CORRUPTIONS[name]
    assert len(entry.values) == len(set(entry.values)) == len(SEVERITIES)
    steps = np.diff(entry.values)
    assert (steps > 0).all() or (steps < 0).all()
    assert all((entry.title, entry.description, entry.unit, entry.reason))


@EACH
@settings(max_examples=12, deadline=None)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(SMALLEST, 40), st.integers(SMALLEST, 40), st.just(1))
    ),
    st.sampled_from(SEVERITIES),
    st.integers(0, 2**32 - 1),
)
def test_grey_stays_grey_at_every_size(name, grey, severity, seed):
    image = np.repeat(grey, 3, axis=-1)
    if name == "calipers":
        with pytest.raises(ImageError, match=f"at least {ANNOTATION_MIN_SIDE} pixels"):
            CORRUPTIONS[name](image, severity, seed=seed)
        return
    worse = CORRUPTIONS[name](image, severity, seed=seed)
    assert worse.shape == image.shape
    assert (worse[..., 0] == worse[..., 1]).all()
    assert (worse[..., 1] == worse[..., 2]).all()


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "calipers"])
def test_black_stays_black(name, speckle):
    image = speckle(160, 200)
    image[:, :40] = 0
    image[120:] = 0
    worse = CORRUPTIONS[name](image, 5, seed=1)
    reach = 24  # blur, blocks and interpolation run over an edge
    assert worse[:, : 40 - reach].max() <= 10  # as black as borders that are trimmed
    assert worse[120 + reach :].max() <= 10
    if name in OF_LEVEL:
        assert worse[:, :40].max() == worse[120:].max() == 0
    assert CORRUPTIONS[name](flat(0), 5).max() <= 10


def test_decibels_are_grey_levels():
    # 60 dB fill 255 levels: 4.25 levels a dB.
    assert (CORRUPTIONS["gain_up"](flat(100), 2) == round(100 + 6 * 4.25)).all()
    assert (CORRUPTIONS["gain_down"](flat(100), 2) == round(100 - 6 * 4.25)).all()
    assert (CORRUPTIONS["gain_up"](flat(250), 5) == 255).all()
    worse = CORRUPTIONS["depth_attenuation"](flat(200), 3)[:, 0, 0].astype(float)
    np.testing.assert_allclose(worse, 200 - np.linspace(0, 3 * 4 * 4.25, 160), atol=0.5)


def test_depth_is_counted_from_where_echoes_begin():
    image = flat(200)
    image[:40] = image[120:] = 0
    worse = CORRUPTIONS["depth_attenuation"](image, 5)[:, 0, 0]
    assert (worse[40], worse[119]) == (200, 200 - 5 * 4 * 4.25)


@pytest.mark.parametrize("name", OF_LEVEL)
def test_hues_stay(name):
    image = np.broadcast_to(np.uint8([200, 100, 50]), (120, 120, 3)).copy()
    worse = CORRUPTIONS[name](image, 4, seed=2).astype(float)
    seen = worse[..., 0] > 40  # darker ones are rounded
    np.testing.assert_allclose(
        worse[seen] / worse[seen][:, :1], [[1, 0.5, 0.25]] * seen.sum(), atol=0.02
    )
    assert (worse.max(axis=-1) == worse[..., 0]).all()


def test_speckle_has_the_spread_it_says_and_grains_wider_than_deep():
    worse = CORRUPTIONS["speckle"](flat(128, 400, 400), 3, seed=0)[..., 0].astype(float)
    assert worse.std() == pytest.approx(3 * 4.25, rel=0.05)
    assert worse.mean() == pytest.approx(128, abs=1)
    grain = worse - worse.mean()
    across = (grain[:, 3:] * grain[:, :-3]).mean() / grain.var()
    down = (grain[3:] * grain[:-3]).mean() / grain.var()
    beside = (grain[:, 1:] * grain[:, :-1]).mean() / grain.var()
    assert beside > 0.7  # white noise has none
    assert across > down + 0.2


def test_blur_is_wider_across_than_along_depth():
    image = flat(0, 201, 201)
    image[95:106, 95:106] = 255
    worse = CORRUPTIONS["blur"](image, 5)[..., 0].astype(float)
    rows, columns = np.nonzero(worse > 20)
    assert np.ptp(columns) > 1.15 * np.ptp(rows)


def test_a_shadow_is_a_dark_band_below_a_depth():
    image = flat(200, 300, 300)
    worse = CORRUPTIONS["shadow"](image, 5, seed=3)[..., 0].astype(float)
    assert (worse[:30] == 200).all()  # nothing above it
    dark = worse[-1] < 200 - 0.5 * 30 * 4.25
    places = np.flatnonzero(dark)
    assert 0.05 < dark.mean() < 0.3
    assert np.ptp(places) == len(places) - 1  # in one piece
    assert np.abs(np.diff(worse[-1])).max() < 30  # its edges are soft


def test_calipers_are_as_many_as_the_severity():
    drawn = [(CORRUPTIONS["calipers"](flat(0, 300, 300), s, seed=0) > 0).sum() for s in SEVERITIES]
    ratio = np.array(drawn) / drawn[0]
    np.testing.assert_allclose(ratio, SEVERITIES, atol=0.5)
    assert CORRUPTIONS["calipers"](flat(0, 96, 96), 5).any()  # no room in parts of it


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (flat(9).astype(float), r"uint8 \[H, W, 3\]. Received: float64"),
        ([[1]], r"uint8 \[H, W, 3\]. Received: list"),
        (flat(9)[..., 0], r"Received: shape \(160, 200\)"),
        (flat(9, 15, 40), "at least 16 pixels a side. Received: 40 x 15"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ImageError, match=message):
        CORRUPTIONS["blur"](image, 1)
