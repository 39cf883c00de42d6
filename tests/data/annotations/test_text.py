"""Burned-in text is found with its box; scattered drawings are no text."""

import numpy as np
import pytest
from drawing import box, jpeg, letters, phantom_scan, plus

from breastus.data.annotations.text import text_lines


@pytest.mark.parametrize("size", [12, 16, 20])
def test_the_box_of_a_line_holds_its_letters(size):
    blank = np.full((200, 300, 3), 20, np.uint8)
    drawn = letters(blank, "RT BREAST", (40, 80), size=size)
    rows, columns = np.nonzero(drawn[..., 0] > 200)
    (left, top, right, bottom), *_ = lines = text_lines(drawn[..., 0])
    assert len(lines) == 1
    assert left <= columns.min()
    assert top <= rows.min()
    assert right > columns.max()
    assert bottom > rows.max()


def test_two_lines_are_two_boxes():
    blank = np.full((200, 300, 3), 20, np.uint8)
    drawn = letters(letters(blank, "RT BREAST", (40, 40)), "10 MHz", (40, 120))
    assert len(text_lines(drawn[..., 0])) == 2


@pytest.mark.parametrize("change", [lambda x: x, jpeg])
def test_text_on_tissue(change):
    for index in range(4):
        drawn = letters(phantom_scan(2, index), "UOQ 10:30", (12, 300))
        assert text_lines(change(drawn)[..., 0])
        assert not text_lines(change(phantom_scan(2, index))[..., 0])


def test_crosses_and_dark_letters_are_no_text():
    blank = np.full((200, 300, 3), 20, np.uint8)
    assert not text_lines(plus(blank, [(50, 50), (150, 120), (250, 60)])[..., 0])
    assert not text_lines(letters(blank, "RT BREAST", (40, 80), color=80)[..., 0])


def test_letters_within_a_frame():
    blank = np.full((200, 300, 3), 20, np.uint8)
    drawn = letters(box(blank, (20, 60, 260, 130), color=255), "RT BREAST", (40, 80))
    assert len(text_lines(drawn[..., 0])) == 1
    assert not text_lines(box(blank, (20, 60, 260, 130), color=255)[..., 0])
