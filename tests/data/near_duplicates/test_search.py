"""Near-duplicates are found through what scanners and people do to a picture, strangers are not."""

import numpy as np
import pytest
from drawing import ALTERATIONS, phantom_scan
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.data.near_duplicates import search as duplicates
from breastus.data.near_duplicates.search import SIDE, fingerprint, near_duplicates

THRESHOLD = 0.76


@pytest.fixture(scope="module")
def scans():
    return [phantom_scan(1, index) for index in range(24)]


@pytest.fixture(scope="module")
def prints(scans):
    return np.stack([fingerprint(scan) for scan in scans])


@pytest.mark.parametrize("name", ALTERATIONS)
def test_changed_copies_are_found_and_nothing_else(scans, prints, name):
    copies = np.stack([fingerprint(ALTERATIONS[name](scan)) for scan in scans[:8]])
    found = near_duplicates(np.concatenate([prints, copies]), threshold=THRESHOLD)
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == [(index, len(prints) + index) for index in range(8)]
    assert found.mirrored.all() if "mirrored" in name else not found.mirrored.any()


def test_strangers_are_not(prints):
    assert len(near_duplicates(prints, threshold=THRESHOLD).first) == 0


def test_hardly_any_stranger_is_registered(prints, monkeypatch):
    tried = []
    monkeypatch.setattr(duplicates, "register", lambda *args, **_: tried.append(args))
    near_duplicates(prints, threshold=THRESHOLD)
    # Each of the 24 is a candidate of the others in 18 views.
    assert len(tried) < len(prints)


def test_a_pattern_moved_a_little_lies_among_its_tangents(prints):
    whole, cut = ((0.0, 1.0), (0.0, 1.0)), ((0.04, 1.0), (0.0, 0.96))
    patterns = duplicates._coarse_patterns(prints, whole, mirrored=False)
    moved = duplicates._waves(duplicates._coarse_patterns(prints, cut, mirrored=False))
    plain = duplicates._waves(patterns) @ moved.T
    lengths = np.linalg.norm(duplicates._tangents(patterns) @ moved.T, axis=1)
    own = np.eye(len(prints), dtype=bool)
    # A share of the way to 1 that the correlation alone is short of.
    assert (1 - lengths[own] < 0.5 * (1 - plain[own])).all()
    assert lengths[own].min() > duplicates._TANGENT_FLOOR > np.median(lengths[~own])
    assert lengths.max() < 1 + 1e-3


def test_of_candidates_that_are_not_close_each_image_keeps_its_best(monkeypatch):
    monkeypatch.setattr(duplicates, "_BEST", 1)
    one, other = np.array([0, 0, 0, 1, 3]), np.array([1, 2, 3, 2, 4])
    length = np.array([0.95, 0.93, 0.91, 0.90, 0.915])
    # Close, close, best of neither, best of neither, best of both.
    kept = duplicates._close_or_best(one, other, length, close=0.92)
    assert kept.tolist() == [True, True, False, False, True]


def test_a_lower_threshold_lets_more_be_candidates(prints):
    few = near_duplicates(prints, threshold=THRESHOLD)
    more = near_duplicates(prints, threshold=0.5)
    assert set(zip(few.first, few.second, strict=True)) <= set(
        zip(more.first, more.second, strict=True)
    )
    assert (more.similarity >= 0.5).all()


def test_black_borders_make_no_difference(scans, prints):
    assert np.array_equal(fingerprint(np.pad(scans[0], ((30, 10), (0, 50), (0, 0)))), prints[0])


def test_flat_images_are_like_nothing(prints):
    flat = np.stack(
        [fingerprint(np.full((50, 60, 3), level, np.uint8)) for level in (0, 0, 90, 91)]
    )
    found = near_duplicates(np.concatenate([flat, prints[:2]]), threshold=THRESHOLD)
    assert len(found.first) == 0


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_for_a_pair(count):
    nothing = np.zeros((count, SIDE, SIDE), np.uint8)
    assert len(near_duplicates(nothing, threshold=THRESHOLD).first) == 0


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(10)))
def test_the_order_of_the_images_does_not_matter(order):
    rng = np.random.default_rng(0)
    scenes = _patterns(rng, 5)
    noisy = np.clip(scenes + rng.normal(scale=12, size=scenes.shape), 0, 255).astype(np.uint8)
    images = np.concatenate([scenes, noisy])[list(order)]
    found = near_duplicates(images, threshold=THRESHOLD)
    pairs = {
        frozenset((order[a], order[b])) for a, b in zip(found.first, found.second, strict=True)
    }
    assert pairs == {frozenset((index, index + 5)) for index in range(5)}
    assert (found.first < found.second).all()


def test_blocks_of_images_find_what_one_block_finds(monkeypatch):
    rng = np.random.default_rng(0)
    scenes = _patterns(rng, 150)
    images = np.concatenate([scenes, scenes[:30, :, ::-1], scenes[30:50]])
    whole = near_duplicates(images, threshold=THRESHOLD)
    monkeypatch.setattr(duplicates, "_BLOCK", 64)
    blocks = near_duplicates(images, threshold=THRESHOLD)
    assert len(whole.first) == 50
    assert whole.first.tolist() == blocks.first.tolist()
    assert whole.second.tolist() == blocks.second.tolist()
    assert whole.similarity == pytest.approx(blocks.similarity, abs=1e-5)


def _patterns(rng, count):
    """Fingerprints of scenes that have nothing in common."""
    return rng.integers(20, 235, (count, 16, 16), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
