"""Lines, seams and panels are found; layers of tissue and saturated images are not flagged."""

import itertools

import drawing
import numpy as np
import pytest
from drawing import phantom_scan, side_by_side

from breastus.data.annotations.layout import find_panel, has_straight_line, is_dual_view


@pytest.fixture(scope="module")
def scans():
    return [phantom_scan(2, index) for index in range(6)]


@pytest.mark.parametrize("color", [drawing.YELLOW, drawing.GREEN, 225])
def test_the_sides_of_a_box_are_straight_lines(scans, color):
    for scan in scans:
        drawn = drawing.box(scan, (120, 100, 330, 300), color=color)
        assert has_straight_line(drawn.max(axis=-1))
        assert not has_straight_line(scan[..., 0])


def test_dashes_are_no_line():
    grey = np.full((300, 400), 40, np.uint8)
    grey[100, :] = grey[:, 150] = 200
    assert has_straight_line(grey)
    grey[100, ::8] = grey[::8, 150] = 40
    assert not has_straight_line(grey)


def test_short_lines_do_not_count(scans):
    assert not has_straight_line(drawing.box(scans[0], (120, 100, 180, 150), color=225)[..., 0])


@pytest.mark.parametrize("gap", [4, 20])
def test_a_black_gap_parts_two_views(scans, gap):
    for one, other in itertools.pairwise(scans):
        assert is_dual_view(side_by_side(one, other, gap=gap)[..., 0])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_adjacent_views_are_dual(index):
    rng = np.random.default_rng(index)
    one, other = phantom_scan(2, index), phantom_scan(2, index + 7)
    other = np.clip(other * rng.uniform(0.5, 0.6), 0, 255).astype(np.uint8)  # of another gain
    assert is_dual_view(side_by_side(one, other)[..., 0])
    assert is_dual_view(side_by_side(one, other, gap=2, level=180)[..., 0])


@pytest.mark.parametrize(("seed", "index"), [(12, 41), (31, 37), (32, 86)])
def test_adjacent_views_of_one_gain_are_dual(seed, index):
    both = side_by_side(phantom_scan(seed, index), phantom_scan(seed, index + 1))
    assert is_dual_view(both[..., 0])


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 2.0])
def test_one_view_is_not_two_however_bright(factor):
    for index in (0, 1, 8, 11, 19, 34):  # some have columns that are white for the most part
        scan = np.clip(phantom_scan(2, index) * factor + 20 * (factor > 1), 0, 255)
        assert not is_dual_view(scan[..., 0].astype(np.uint8))


def test_a_black_half_is_no_second_view(scans):
    half = scans[0].copy()
    half[:, half.shape[1] // 2 :] = 0
    assert not is_dual_view(half[..., 0])


def test_a_line_drawn_down_the_middle_is_no_seam(scans):
    for scan in scans:
        drawn = scan.copy()
        middle = drawn.shape[1] // 2
        drawn[:, middle : middle + 2] = 230
        assert not is_dual_view(drawn[..., 0])


@pytest.mark.parametrize("change", [lambda x: x, drawing.jpeg])
def test_the_box_holds_the_panel(scans, change):
    for scan in scans:
        height = len(scan)
        side = int(0.16 * min(scan.shape[:2]))
        left, top, right, bottom = find_panel(change(drawing.panel(scan)))
        blurred = 8  # a block of a JPEG
        assert left <= 10 + blurred
        assert top <= height - side - 10 + blurred
        assert right >= side + 10 - blurred
        assert bottom >= height - 10 - blurred
        assert (right - left) * (bottom - top) < 4 * side**2
        assert find_panel(change(scan)) is None


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_are_no_panels(level):
    assert find_panel(np.full((200, 240, 3), level, np.uint8)) is None
