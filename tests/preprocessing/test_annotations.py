"""Annotations are removed and nothing else, on speckle with drawings at known places."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from breastus.data.annotations.drawing import draw_annotations
from breastus.data.annotations.flags import annotation_flags
from breastus.phantoms.simulation import simulate_phantom
from breastus.preprocessing.annotations import find_annotations, remove_annotations


@pytest.fixture(scope="module")
def scans():
    # Darkened, since some phantoms are as bright as annotations, which are then invisible.
    grey = [simulate_phantom(5, number).image // 3 * 2 for number in range(6)]
    return [np.repeat(image[..., None], 3, axis=-1) for image in grey]


def test_images_without_annotations_are_not_changed(scans):
    for scan in scans:
        np.testing.assert_array_equal(remove_annotations(scan), scan)


def test_annotations_are_found_and_little_else(scans):
    for seed, scan in enumerate(scans):
        marked = draw_annotations(scan, seed)
        drawn = (marked != scan).any(-1)
        found = find_annotations(marked).numpy()
        assert found[drawn].mean() > 0.97
        beside = cv2.dilate(drawn.astype(np.uint8), np.ones((9, 9))) == 0
        assert found[beside].mean() < 0.001


def test_removal_leaves_no_flag_and_restores_the_tissue(scans):
    for seed, scan in enumerate(scans):
        marked = draw_annotations(scan, seed)
        assert {"caliper", "text"} <= set(annotation_flags(marked))
        clean = remove_annotations(marked).numpy()
        assert not {"caliper", "text"} & set(annotation_flags(clean))
        drawn = (marked != scan).any(-1)
        wrong = np.abs(clean.astype(int) - scan)[drawn].mean()
        assert wrong < 0.2 * np.abs(marked.astype(int) - scan)[drawn].mean()


@pytest.mark.parametrize("color", [(255, 255, 0), (120, 255, 140)])
def test_coloured_crosses_are_removed_and_flow_is_kept(scans, color):
    marked = scans[0].copy()
    cv2.drawMarker(marked, (90, 80), color, cv2.MARKER_CROSS, 15, 1)
    cv2.circle(marked, (200, 120), 14, (220, 60, 30), -1)
    clean = remove_annotations(marked).numpy()
    assert np.ptp(clean[65:96, 75:106].astype(int), axis=-1).max() == 0
    np.testing.assert_array_equal(clean[100:140, 180:220], marked[100:140, 180:220])


def test_a_box_is_removed(scans):
    marked = scans[1].copy()
    height, width = marked.shape[:2]
    box = (width // 5, height // 5), (4 * width // 5, 4 * height // 5)
    cv2.rectangle(marked, *box, (200, 200, 200), 1)
    drawn = (marked != scans[1]).any(-1)
    assert find_annotations(marked).numpy()[drawn].mean() > 0.9


def test_type_is_kept_and_floats_give_the_same_pixels(scans):
    marked = draw_annotations(scans[2], 1)
    from_uint8 = remove_annotations(tf.constant(marked))
    from_float = remove_annotations(tf.constant(marked, tf.float32))
    assert from_uint8.dtype == tf.uint8
    assert from_float.dtype == tf.float32
    np.testing.assert_array_equal(from_uint8, from_float)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (5, 300), (64, 64)])
@pytest.mark.parametrize("value", [0, 255])
def test_the_shape_is_kept(shape, value):
    flat = np.full((*shape, 3), value, np.uint8)
    np.testing.assert_array_equal(remove_annotations(flat), flat)
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert remove_annotations(noise).shape == noise.shape
