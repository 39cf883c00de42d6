"""What scanners and people do to a picture of one scene: pixels in, the changed picture out.

`ALTERATIONS` is what the tests of near-duplicates and `experiments/curation.py` hold them to. All
pixels are uint8 [H, W, 3], RGB.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from experiments.drawing import jpeg, letters, plus


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


def _marked(pixels: np.ndarray) -> np.ndarray:
    pixels = plus(pixels, [(150, 200), (300, 260)], arm=8, color=255)
    for row, text in enumerate(("RT BREAST", "UOQ 10 O'CLOCK", "D1 12.3 mm")):
        pixels = letters(pixels, text, (12, 300 + 18 * row))
    return pixels


def _cut(pixels: np.ndarray, left=0.0, top=0.0, right=0.0, bottom=0.0) -> np.ndarray:
    height, width = pixels.shape[:2]
    return pixels[
        int(top * height) : height - int(bottom * height),
        int(left * width) : width - int(right * width),
    ]


ALTERATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "brighter": lambda x: np.clip(x.astype(int) + 25, 0, 255).astype(np.uint8),
    "more contrast": lambda x: np.clip(x * 1.3, 0, 255).astype(np.uint8),
    "another gain curve": lambda x: (255 * (x / 255) ** 0.6).astype(np.uint8),
    "re-encoded": lambda x: jpeg(x, 40),
    "half the size": lambda x: _resized(x, x.shape[1] // 2, x.shape[0] // 2),
    "squashed": lambda x: _resized(x, 256, 256),
    "black border": lambda x: np.pad(x, ((30, 10), (0, 50), (0, 0))),
    "calipers and text": _marked,
    "a bit cut off each side": lambda x: _cut(x, 0.06, 0.06, 0.06, 0.06),
    "left part cut off": lambda x: _cut(x, left=0.15),
    "right quarter cut off": lambda x: _cut(x, right=0.25),
    "bottom cut off": lambda x: _cut(x, bottom=0.15),
    "a corner cut off": lambda x: _cut(x, left=0.1, top=0.1),
    "shifted": lambda x: np.pad(x, ((12, 0), (20, 0), (0, 0)))[:-12, :-20],
    "mirrored": lambda x: x[:, ::-1],
    "mirrored and cut": lambda x: _cut(x[:, ::-1], right=0.12),
    "all at once": lambda x: jpeg(
        _cut(_marked(np.clip(x * 1.2, 0, 255).astype(np.uint8)), 0.08), 40
    ),
}
