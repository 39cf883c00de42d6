"""Draw on scans and alter them as devices and people do, for tests and benchmarks.

All functions take and return uint8 pixels [H, W, 3], RGB, and leave their input as it is. Places
are (x, y) in pixels from the top left; colours are RGB levels, or one grey level. `ALTERATIONS` are
the changes after which a scan must still be found as a near-duplicate.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from breastus.data.images import read_image

Place = tuple[int, int]
Color = int | tuple[int, int, int]

YELLOW, GREEN, WHITE = (250, 230, 60), (60, 230, 90), 255
VIOLET = (118, 96, 150)


def phantom_scan(seed: int, index: int) -> np.ndarray:
    """Return a phantom as a device saves it, uint8 [H, W, 3]."""
    from breastus.phantoms.simulation import simulate_phantom

    return np.repeat(simulate_phantom(seed, index).image[..., None], 3, axis=-1)


def plus(
    pixels: np.ndarray, places: Sequence[Place], *, arm: int = 7, thickness: int = 2,
    color: Color = 225,
) -> np.ndarray:  # fmt: skip
    """Draw upright measuring crosses."""
    lines = [((x - arm, y), (x + arm, y)) for x, y in places]
    lines += [((x, y - arm), (x, y + arm)) for x, y in places]
    return _lines(pixels, lines, thickness, color)


def slanted(
    pixels: np.ndarray, places: Sequence[Place], *, arm: int = 6, thickness: int = 2,
    color: Color = 225,
) -> np.ndarray:  # fmt: skip
    """Draw diagonal measuring crosses."""
    lines = [((x - arm, y - arm), (x + arm, y + arm)) for x, y in places]
    lines += [((x - arm, y + arm), (x + arm, y - arm)) for x, y in places]
    return _lines(pixels, lines, thickness, color)


def open_plus(
    pixels: np.ndarray, places: Sequence[Place], *, arm: int = 7, gap: int = 2,
    color: Color = YELLOW,
) -> np.ndarray:  # fmt: skip
    """Draw upright crosses with an open centre, as devices of Siemens do."""
    lines = []
    for x, y in places:
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            lines.append(((x + gap * dx, y + gap * dy), (x + arm * dx, y + arm * dy)))
    return _lines(pixels, lines, 1, color)


def letters(
    pixels: np.ndarray, text: str, place: Place, *, size: int = 16, color: Color = WHITE
) -> np.ndarray:
    """Draw a line of text."""
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text(place, text, fill=_rgb(color), font_size=size)
    return np.asarray(image)


def box(
    pixels: np.ndarray, corners: tuple[int, int, int, int], *, color: Color = YELLOW, width: int = 1
) -> np.ndarray:
    """Draw the outline of a box (left, top, right, bottom), as around Doppler flow."""
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).rectangle(corners, outline=_rgb(color), width=width)
    return np.asarray(image)


def flow(pixels: np.ndarray, place: Place, *, radius: int = 12) -> np.ndarray:
    """Draw colour Doppler flow: a red patch and a blue one beside it."""
    rows, columns = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    drawn = pixels.copy()
    for shift, channel in ((0, 0), (2 * radius, 2)):
        x, y = place[0] + shift, place[1]
        away = np.hypot(columns - x, (rows - y) * 1.6) / radius
        color = np.full((*pixels.shape[:2], 3), 30.0)
        color[..., channel] = np.clip(240 - 120 * away, 0, 255)
        drawn[away < 1] = color[away < 1].astype(np.uint8)
    return drawn


def panel(pixels: np.ndarray, *, share: float = 0.16, color: Color = VIOLET) -> np.ndarray:
    """Draw a flat panel in the lower left corner, the background of body markers."""
    drawn = pixels.copy()
    side = int(share * min(pixels.shape[:2]))
    drawn[-side - 10 : -10, 10 : side + 10] = _rgb(color)
    return drawn


def side_by_side(left: np.ndarray, right: np.ndarray, *, gap: int = 0, level: int = 0):
    """Join two views, cut to the smaller height, with a band between them."""
    height = min(len(left), len(right))
    band = np.full((height, gap, 3), level, np.uint8)
    return np.concatenate([left[:height], band, right[:height]], axis=1)


def tinted(pixels: np.ndarray, factors: tuple[float, float, float] = (0.86, 0.95, 1.0)):
    """Tint a grey image, bluish by default."""
    return (pixels * np.array(factors)).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int = 90) -> np.ndarray:
    """Encode as JPEG and decode."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return read_image(buffer.getvalue())


def _lines(pixels: np.ndarray, lines, thickness: int, color: Color) -> np.ndarray:
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for ends in lines:
        draw.line(ends, fill=_rgb(color), width=thickness)
    return np.asarray(image)


def _rgb(color: Color) -> tuple[int, int, int]:
    return (color,) * 3 if isinstance(color, int) else color


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
