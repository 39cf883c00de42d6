"""Near-duplicates are found through what scanners and people do to a picture, strangers are not."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from breastus.data import duplicates
from breastus.data.duplicates import SIDE, fingerprint, near_duplicates
from breastus.data.images import read_image
from breastus.data.simulation import simulate_phantom

THRESHOLD = 0.76


@pytest.fixture(scope="module")
def scans():
    return [_rgb(simulate_phantom(1, index).image) for index in range(24)]


@pytest.fixture(scope="module")
def prints(scans):
    return np.stack([fingerprint(scan) for scan in scans])


def _rgb(grey):
    return np.repeat(grey[..., None], 3, axis=-1)


def _jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=40)
    return read_image(buffer.getvalue())


def _resized(pixels, width, height):
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


def _marked(pixels):
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for x, y in ((150, 200), (300, 260)):
        draw.line([(x - 8, y), (x + 8, y)], fill=(255, 255, 255), width=2)
        draw.line([(x, y - 8), (x, y + 8)], fill=(255, 255, 255), width=2)
    for row, text in enumerate(("RT BREAST", "UOQ 10 O'CLOCK", "D1 12.3 mm")):
        draw.text((12, 300 + 18 * row), text, fill=(255, 255, 255), font_size=16)
    return np.asarray(image)


def _cut(pixels, left=0.0, top=0.0, right=0.0, bottom=0.0):
    height, width = pixels.shape[:2]
    return pixels[
        int(top * height) : height - int(bottom * height),
        int(left * width) : width - int(right * width),
    ]


CHANGES = {
    "brighter": lambda x: np.clip(x.astype(int) + 25, 0, 255).astype(np.uint8),
    "more contrast": lambda x: np.clip(x * 1.3, 0, 255).astype(np.uint8),
    "another gain curve": lambda x: (255 * (x / 255) ** 0.6).astype(np.uint8),
    "re-encoded": _jpeg,
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
    "all at once": lambda x: _jpeg(_cut(_marked(np.clip(x * 1.2, 0, 255).astype(np.uint8)), 0.08)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_are_found_and_nothing_else(scans, prints, name):
    copies = np.stack([fingerprint(CHANGES[name](scan)) for scan in scans[:8]])
    found = near_duplicates(np.concatenate([prints, copies]), threshold=THRESHOLD)
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == [(index, len(prints) + index) for index in range(8)]
    assert found.mirrored.all() if "mirrored" in name else not found.mirrored.any()


def test_strangers_are_not(prints):
    assert len(near_duplicates(prints, threshold=THRESHOLD).first) == 0


def test_black_borders_make_no_difference(scans, prints):
    assert np.array_equal(fingerprint(np.pad(scans[0], ((30, 10), (0, 50), (0, 0)))), prints[0])


def test_flat_images_are_like_nothing(prints):
    flat = np.stack(
        [fingerprint(np.full((50, 60, 3), level, np.uint8)) for level in (0, 0, 90, 91)]
    )
    found = near_duplicates(np.concatenate([flat, prints[:2]]), threshold=THRESHOLD)
    assert len(found.first) == 0


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_be_twins(count):
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


def test_the_graph_finds_what_comparing_all_finds(monkeypatch):
    rng = np.random.default_rng(0)
    scenes = _patterns(rng, 150)
    images = np.concatenate([scenes, scenes[:30, :, ::-1], scenes[30:50]])
    monkeypatch.setattr(duplicates, "_BLOCK", 64)
    exact = near_duplicates(images, threshold=THRESHOLD)
    monkeypatch.setattr(duplicates, "_EXACT", 0)
    graph = near_duplicates(images, threshold=THRESHOLD)
    assert len(exact.first) == 50
    assert exact.first.tolist() == graph.first.tolist()
    assert exact.second.tolist() == graph.second.tolist()
    assert exact.similarity == pytest.approx(graph.similarity, abs=1e-5)


def _patterns(rng, count):
    """Fingerprints of scenes that have nothing in common."""
    return rng.integers(20, 235, (count, 16, 16), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
