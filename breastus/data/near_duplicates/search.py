"""Find near-duplicates: small grey copies of images in, pairs that show the same scene out.

1. Candidates: each *view* of an image (whole, or with an edge or two cut off, each also mirrored)
   is compared with all whole images, by the lowest cosine waves of its pattern.
2. Tangent test: a candidate's waves must lie close to the tangent space of the other image, which
   contains the image slightly moved, scaled or rotated. Hardly any unrelated pair passes.
3. Registration, first rough, then fine: a pair counts if the registered patterns correlate.

Patterns have slow changes of brightness removed, so gain, compression, size, calipers and text
hardly change them; views, tangents and registration cover crops, shifts and neighbouring sections.

The search is exact: it compares all with all. `experiments/RESULTS.md` has its times: 15 processor
minutes and 1 GB for 100,000 images, of which it found 1,000 of 1,000 planted pairs. A graph of
neighbours (HNSW) took 2 minutes and found 997; next to the 20 processor minutes for reading 100,000
files, it was not worth a second search.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from breastus.data.near_duplicates.registration import register, registered_correlation
from breastus.utils.opencv import cv2
from breastus.utils.threads import in_threads

SIDE = 64  # pixels a side of a fingerprint
_COARSE = 16  # pixels a side of the patterns that are searched
_FINE = 48  # pixels a side of the patterns that are registered; 64 and 80 separate pairs no better
_BLACK, _BRIGHT_SHARE = 10, 0.01  # border lines are at most this bright, as in the image transform

# Parts of an image that are looked for in others: (left, right), (top, bottom), as fractions. On
# BUSI the first alone finds 96 % of the pairs and the first eight find all; the last one is for
# phantoms that are cropped on all sides.
_EDGE, _WIDE = 0.15, 0.28
_VIEWS = (
    ((0.0, 1.0), (0.0, 1.0)),
    ((0.0, 1 - _EDGE), (0.0, 1.0)),
    ((_EDGE, 1.0), (0.0, 1.0)),
    ((0.14, 0.86), (0.0, 1.0)),
    ((0.0, 1 - _WIDE), (0.0, 1.0)),
    ((_WIDE, 1.0), (0.0, 1.0)),
    ((0.0, 1.0), (0.0, 1 - _EDGE)),
    ((0.0, 1.0), (_EDGE, 1.0)),
    ((0.08, 0.92), (0.08, 0.92)),
)
# Coarse patterns are searched as their 8 x 8 lowest cosine waves, blurred (sigma in pixels). Of
# 1,275 altered copies of phantoms each was in some view closer to its original than to any of 9,900
# others, with the waves as well as with all 256 pixels.
_WAVES, _BLUR = 8, 0.8
_NEIGHBOURS = 8  # candidates per view
# Floors for candidates, chosen on BUSI and on 150 phantoms that no reported result uses. Floor of
# the waves' correlation: the true pairs of BUSI have at least 0.87, of phantoms 0.76. Floor of the
# correlation with the tangent space: in their best view 240 pairs of BUSI have at least 0.935 and
# 2,549 of 2,550 pairs of phantoms 0.930, one 0.906. Unrelated images reach 0.9 1.2 times per image
# among 10,000 images and 6.3 times among 100,000, but 0.92 only 0.1 times among 10,000. So below
# 0.92 only the four best candidates of an image are kept.
_WAVE_FLOOR = 0.7
_TANGENT_FLOOR, _TANGENT_CLOSE = 0.9, 0.92
_BEST = 4
# Rough registration: after 3 steps the pairs of BUSI and of those phantoms correlate by at least
# 0.875, and 0.76 is enough in the end.
_ROUGH, _ROUGH_STEPS = 24, 3
_ROUGH_FLOOR = 0.8
_FLOORS_CHOSEN_AT = 0.76  # threshold; a lower one lowers all floors by the difference
_BLOCK = 2048  # images compared at a time
_CHUNK = 256  # candidates registered at a time


class Pairs(NamedTuple):
    """Pairs of images that show the same scene, each pair once, in order."""

    first: np.ndarray  # int [k], index of one image
    second: np.ndarray  # int [k], index of the other image, larger than `first`
    similarity: np.ndarray  # float32 [k], correlation of the registered images, at most 1
    mirrored: np.ndarray  # bool [k], whether one image is the other one mirrored left to right


def fingerprint(pixels: np.ndarray) -> np.ndarray:
    """Return the small grey copy of an image by which near-duplicates are found: uint8 [64, 64].

    `pixels` are uint8 [H, W, 3], RGB; black borders are cut off.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    bright = grey > _BLACK
    rows = np.flatnonzero(bright.mean(axis=1) > _BRIGHT_SHARE)
    columns = np.flatnonzero(bright.mean(axis=0) > _BRIGHT_SHARE)
    if rows.size and columns.size:
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def near_duplicates(fingerprints: np.ndarray, *, threshold: float) -> Pairs:
    """Return the pairs of images that show the same scene.

    Args:
        fingerprints: uint8 [n, 64, 64], as from `fingerprint`. An image of a single grey level is
            similar to no other.
        threshold: correlation from which two registered images are a pair. On BUSI 0.76 gives 153
            groups of 346 images, as many as Pawlowska et al. counted by eye. Just below, from 0.75
            down, are other sections of the same lesion.
    """
    lowered = max(_FLOORS_CHOSEN_AT - threshold, 0.0)
    first, second, view, mirrored = _find_candidates(fingerprints, lowered)
    rough = _rough_patterns(fingerprints)
    fine = functools.lru_cache(8192)(lambda index: _fine_pattern(fingerprints[index]))

    def similarities(start: int) -> list[float]:
        scores = []
        for number in range(start, min(start + _CHUNK, len(first))):
            one, other, start_view = first[number], second[number], _VIEWS[view[number]]
            how = {"view": start_view, "mirrored": mirrored[number]}
            found = register(rough[one], rough[other], steps=_ROUGH_STEPS, **how)
            if found is None or found[0] < _ROUGH_FLOOR - lowered:
                scores.append(-1.0)
            else:
                scores.append(registered_correlation(fine(one), fine(other), **how))
        return scores

    # In chunks, because each task costs a few microseconds and there may be millions.
    done = in_threads(similarities, range(0, len(first), _CHUNK), "registering candidates")
    scores = np.fromiter((score for chunk in done for score in chunk), np.float32, len(first))
    kept = np.flatnonzero(scores >= threshold)
    low, high = np.minimum(first, second)[kept], np.maximum(first, second)[kept]
    order = np.lexsort((high, low))
    return Pairs(low[order], high[order], scores[kept][order], mirrored[kept][order])


def _find_candidates(
    fingerprints: np.ndarray, lowered: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return candidates for registration: (image, other, view of `image`, mirrored).

    `lowered` is the amount by which the floors are lowered.
    """
    from sklearn.neighbors import NearestNeighbors

    count = len(fingerprints)
    if count < 2:
        return (*(np.empty(0, int) for _ in range(3)), np.empty(0, bool))
    whole = np.empty((count, _WAVES**2), np.float32)
    tangents = np.empty((count, 7, _WAVES**2), np.float32)
    for rows in _blocks(count):
        patterns = _coarse_patterns(fingerprints[rows], _VIEWS[0], mirrored=False)
        whole[rows], tangents[rows] = _waves(patterns), _tangents(patterns)
    # An image is itself among its neighbours.
    neighbours = NearestNeighbors(n_neighbors=min(_NEIGHBOURS + 1, count), algorithm="brute")
    neighbours.fit(whole)
    found = []
    for rows in tqdm(list(_blocks(count)), "comparing images", leave=False, disable=None):
        image = np.arange(count)[rows]
        for number, view in enumerate(_VIEWS):
            for mirrored in (False, True):
                waves = _waves(_coarse_patterns(fingerprints[rows], view, mirrored=mirrored))
                distance, other = neighbours.kneighbors(waves)
                correlation = 1 - distance**2 / 2  # of vectors of length 1
                row, rank = np.nonzero(
                    (correlation >= _WAVE_FLOOR - lowered) & (other != image[:, None])
                )
                other = other[row, rank]
                closeness = np.linalg.norm((tangents[other] @ waves[row, :, None])[..., 0], axis=1)
                kept = closeness >= _TANGENT_FLOOR - lowered
                found.append(
                    (
                        image[row[kept]],
                        other[kept],
                        np.full(kept.sum(), number, np.int8),
                        np.full(kept.sum(), mirrored),
                        closeness[kept],
                    )
                )
    image, other, view, mirrored, closeness = map(np.concatenate, zip(*found, strict=True))
    best = _best_views(
        np.minimum(image, other), np.maximum(image, other), view, mirrored, closeness
    )
    best = best[_close_or_best(image[best], other[best], closeness[best], _TANGENT_CLOSE - lowered)]
    return image[best], other[best], view[best], mirrored[best]


def _best_views(first, second, view, mirrored, closeness) -> np.ndarray:
    """Return the position of each pair's best view, which is where registration starts."""
    order = np.lexsort((mirrored, view, -closeness, second, first))
    new = (np.diff(first[order], prepend=-1) != 0) | (np.diff(second[order], prepend=-1) != 0)
    return order[new]


def _close_or_best(first, second, closeness, close: float) -> np.ndarray:
    """Return which pairs are close, or among the best pairs of one of their images: bool."""
    image, pair = np.concatenate([first, second]), np.tile(np.arange(len(first)), 2)
    order = np.lexsort((-closeness[pair], image))
    _, starts, counts = np.unique(image[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    kept = closeness >= close
    kept[pair[order[rank < _BEST]]] = True
    return kept


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def _coarse_patterns(fingerprints: np.ndarray, view, *, mirrored: bool) -> np.ndarray:
    """Return the patterns of one view of some images: float32 [n, 16, 16]."""
    (left, right), (top, bottom) = view
    images = fingerprints[:, :, ::-1] if mirrored else fingerprints
    across, down = _area_resize(left, right), _area_resize(top, bottom)
    small = down @ images.astype(np.float32) @ across.T
    return _pattern(small, _gaussian_blur(_COARSE, 2.5), _gaussian_blur(_COARSE, 3.75))


def _waves(patterns: np.ndarray) -> np.ndarray:
    """Return the lowest waves of [..., 16, 16]: float32 [..., 64], mean 0, length 1 or 0."""
    cosines = _cosines()
    waves = (cosines @ patterns @ cosines.T).reshape(*patterns.shape[:-2], -1)
    waves[..., 0] = 0  # the mean; kept in place, as 64 numbers are compared faster than 63
    length = np.linalg.norm(waves, axis=-1, keepdims=True)
    # An image without structure leaves only rounding errors, which must not resemble anything.
    return np.where(length > 1e-2, waves / np.maximum(length, 1e-2), 0).astype(np.float32)


def _tangents(patterns: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of each pattern's tangent space: float32 [n, 7, 64].

    It spans the pattern and its first derivatives by the six parameters of an affine map, as waves.
    The length of a unit vector's projection is its correlation with the best combination of them.

    Reference:
        Simard, LeCun, Denker: Efficient pattern recognition using a new transformation distance.
        NIPS 5 (1993) 50-58.
    """
    down, across = np.gradient(patterns, axis=(1, 2))
    x = np.linspace(-1, 1, _COARSE, dtype=np.float32)
    y = x[:, None]
    derivatives = across, across * x, across * y, down, down * x, down * y
    waves = _waves(np.stack([patterns, *derivatives], axis=1))
    products = waves @ waves.transpose(0, 2, 1) + 1e-4 * np.eye(7, dtype=np.float32)
    return np.linalg.solve(np.linalg.cholesky(products), waves)


def _rough_patterns(images: np.ndarray) -> np.ndarray:
    """Return the patterns for rough registration: float32 [n, 24, 24]."""
    patterns = np.empty((len(images), _ROUGH, _ROUGH), np.float32)
    resize, soften = _area_resize(0, 1, _ROUGH), _gaussian_blur(_ROUGH, 0.5)
    slow, wide = _gaussian_blur(_ROUGH, _ROUGH / 12), _gaussian_blur(_ROUGH, _ROUGH / 8)
    for rows in _blocks(len(images)):
        small = resize @ images[rows].astype(np.float32) @ resize.T
        patterns[rows] = soften @ _pattern(small, slow, wide) @ soften.T
    return patterns


def _fine_pattern(image: np.ndarray) -> np.ndarray:
    """Return the pattern of one image for fine registration: float32 [48, 48]."""
    small = cv2.resize(image.astype(np.float32), (_FINE, _FINE), interpolation=cv2.INTER_AREA)
    pattern = _pattern(small, _gaussian_blur(_FINE, 4.0), _gaussian_blur(_FINE, 6.0))
    return cv2.GaussianBlur(pattern, (0, 0), 0.5)


def _pattern(images: np.ndarray, slow: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Return [..., s, s] without slow changes, in local standard deviations, clipped at 2.5.

    Calipers and text are the brightest parts; clipped, they weigh no more than an echo.
    """
    high = images - slow @ images @ slow.T
    deviation = np.sqrt(wide @ (high * high) @ wide.T)
    return np.clip(high / (deviation + 2.0), -2.5, 2.5).astype(np.float32)


@functools.cache
def _gaussian_blur(side: int, sigma: float) -> np.ndarray:
    """Return the matrix [side, side] that blurs a line with a Gaussian; its rows sum to 1."""
    distance = np.arange(side)[:, None] - np.arange(side)
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@functools.cache
def _cosines() -> np.ndarray:
    """Return the matrix [8, 16] that turns a blurred line into its lowest cosine waves."""
    wave, pixel = np.arange(_WAVES)[:, None], np.arange(_COARSE) + 0.5
    angle = np.pi * wave / _COARSE
    cosines = np.cos(angle * pixel) * np.exp(-0.5 * (_BLUR * angle) ** 2)
    scale = np.where(wave == 0, 1 / _COARSE, 2 / _COARSE) ** 0.5
    return (scale * cosines).astype(np.float32)


@functools.cache
def _area_resize(start: float, end: float, side: int = _COARSE) -> np.ndarray:
    """Return the matrix [side, 64] that cuts out a part of a line and averages it to `side`."""
    edges = np.linspace(start * SIDE, end * SIDE, side + 1)
    pixel = np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    covered = np.maximum(covered, 0)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
