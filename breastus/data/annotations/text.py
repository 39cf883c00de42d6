"""Burned-in text: a grey image in, the boxes of its lines of text out.

Letters are thin, bright and flat, of one height and one brightness, and stand on a line.
"""

import numpy as np

from breastus.utils.opencv import cv2

Box = tuple[int, int, int, int]  # left, top, right, bottom

_THIN = 9  # pixels; strokes are thinner
_CONTRAST, _BRIGHT = 70, 130  # grey levels above the surroundings, and above black
_HEIGHT = (7, 30)  # pixels of a letter
_WIDEST = 32
_LETTERS = 3  # fewer may be a coincidence
_MARGIN = 6  # pixels that a box reaches beyond the strokes


def text_lines(grey: np.ndarray) -> list[Box]:
    """Return the boxes of the lines of text on an image, uint8 [H, W], from left to right."""
    letters = sorted(_letters(grey))
    lines, taken = [], set()
    for first in range(len(letters)):
        if first in taken:
            continue
        line = _line(letters, first)
        if len(line) >= _LETTERS:
            taken.update(line)
            lines.append(_box([letters[number] for number in line]))
    return lines


def _letters(grey: np.ndarray) -> list[tuple[int, int, int, int, float]]:
    """Return (left, top, width, height, brightness) of each candidate letter."""
    raised = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, np.ones((_THIN, _THIN), np.uint8))
    strokes = ((raised > _CONTRAST) & (grey > _BRIGHT)).astype(np.uint8)
    # Outlines take a tenth of the time of labelling every pixel.
    outlines, tree = cv2.findContours(strokes, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    found = []
    for outline, (_, _, _, parent) in zip(outlines, () if tree is None else tree[0], strict=True):
        left, top, width, height = cv2.boundingRect(outline)
        if parent >= 0 or not (_HEIGHT[0] <= height <= _HEIGHT[1] and 2 <= width <= _WIDEST):
            continue
        inside = np.s_[top : top + height, left : left + width]
        _, parts = cv2.connectedComponents(strokes[inside], connectivity=8)
        x, y = outline[0, 0]
        letter = parts == parts[y - top, x - left]  # its box may hold parts of others
        area = np.count_nonzero(letter)
        if area >= 10 and 0.15 <= area / (width * height) <= 0.9:
            brightness = float(np.percentile(grey[inside][letter], 80))
            found.append((left, top, width, height, brightness))
    return found


def _line(letters, first: int) -> list[int]:
    """Return the indices of a letter and of those that continue its line to the right."""
    left, top, width, height, brightness = letters[first]
    end, baseline = left + width, top + height
    line = [first]
    for number in range(first + 1, len(letters)):
        next_left, next_top, next_width, next_height, next_brightness = letters[number]
        if next_left - end > 1.6 * height:
            break
        if (
            next_left >= end - 2
            and abs(next_top + next_height - baseline) <= max(2, 0.15 * height)
            and abs(next_height - height) <= max(2, 0.2 * height)
            and abs(next_brightness - brightness) <= 25
        ):
            line.append(number)
            end = next_left + next_width
    return line


def _box(letters) -> Box:
    lefts, tops, widths, heights, _ = zip(*letters, strict=True)
    return (
        max(0, min(lefts) - _MARGIN),
        max(0, min(tops) - _MARGIN),
        max(left + width for left, width in zip(lefts, widths, strict=True)) + _MARGIN,
        max(top + height for top, height in zip(tops, heights, strict=True)) + _MARGIN,
    )
