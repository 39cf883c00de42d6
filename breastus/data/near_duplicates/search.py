"""Near-duplicates: small grey copies of the images in, pairs that show one scene out.

Found in three steps. Candidates: each image's *views* (whole, and with an edge or two cut off, each
also mirrored) are compared with all whole images, as the lowest waves of what is left when slow
changes of brightness are taken out. Sieve: a view has to lie among the tangents of the other image,
what that turns into when it is moved, scaled or turned a little; a few multiplications, which
hardly any stranger passes. Proof: what is left is registered (`registration`), roughly first; the
two are a pair when what they share then correlates.
Gain, re-encoding, size, calipers and text hardly touch such patterns; crops, shifts and small
changes of the section are what the views, the tangents and the registration are for.
"""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from breastus.data.near_duplicates.pattern_order import side_by_side
from breastus.data.near_duplicates.registration import registered, similarity
from breastus.utils.opencv import cv2

SIDE = 64  # pixels a side of a fingerprint
_COARSE = 16  # pixels a side of the patterns that are searched
_FINE = 48  # pixels a side of the patterns that are registered; 64 and 80 tell pairs no better
_BLACK, _BRIGHT_SHARE = 10, 0.01  # what a border line is, as in the image transform

# The parts of an image that are looked for in others: (left, right), (top, bottom), as shares. On
# BUSI the first alone finds 96 % of the pairs, the first eight find all; the last is for phantoms
# that are cut on all sides.
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
# Coarse patterns are searched as their 8 x 8 lowest cosine waves, blurred (sigma in pixels). Either
# way, as waves or as all 256 pixels, each of 1,275 altered copies of phantoms was in some view
# nearer to its own than to any of 9,900 strangers; a graph of 64 numbers an image is walked in less
# memory.
_WAVES, _BLUR = 8, 0.8
_NEIGHBOURS = 8  # candidates a view, at the most
# Two floors that candidates have to pass, chosen on BUSI and on 150 phantoms, none of which is
# among those that results are reported of. Correlation of the waves: the true pairs of BUSI had at
# least 0.87, of phantoms 0.76. Correlation with the best sum of a pattern and its tangents (the
# first order of an affine map): in their best view 240 pairs of BUSI had at least 0.935, 2,549 of
# 2,550 of phantoms 0.930, one 0.906. From 0.9 there are 1.2 strangers an image among 10,000 and 6.3
# among 100,000; so below 0.92, from where there are 0.1 among 10,000, an image's best four will do.
_ALIKE = 0.7
_TANGENT, _CLOSE = 0.9, 0.92
_BEST = 4
# Rough registration. After 3 steps the pairs of BUSI and of the phantoms above correlated by 0.875
# and more, where 0.76 was enough in the end.
_ROUGH, _ROUGH_STEPS = 24, 3
_ROUGHLY = 0.8
_SET_FOR = 0.76  # the threshold the floors were chosen at; a lower one lowers them as much
_EXACT = 8192  # up to so many images all are compared with all; above, a graph of neighbours is
_BLOCK = 2048  # images at a time
_CHUNK = 256  # candidates at a time


class Pairs(NamedTuple):
    """Pairs of images that show one scene, each once, in order.

    Attributes:
        first: int [k], index of the one.
        second: int [k], index of the other, larger than `first`.
        similarity: float32 [k], correlation of the registered images, at most 1.
        mirrored: bool [k], whether the one is the other left to right.
    """

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    mirrored: np.ndarray


def fingerprint(pixels: np.ndarray) -> np.ndarray:
    """Return the small grey copy of an image that near-duplicates are found by.

    Args:
        pixels: uint8 [H, W, 3], RGB.

    Returns:
        uint8 [64, 64], without black borders.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    bright = grey > _BLACK
    rows = np.flatnonzero(bright.mean(axis=1) > _BRIGHT_SHARE)
    columns = np.flatnonzero(bright.mean(axis=0) > _BRIGHT_SHARE)
    if rows.size and columns.size:
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def near_duplicates(fingerprints: np.ndarray, *, threshold: float) -> Pairs:
    """Return the pairs of images that show one scene.

    Args:
        fingerprints: uint8 [n, 64, 64], as from `fingerprint`; one that is all zeros, or of one
            grey level, is like no other.
        threshold: correlation from which two registered images are a pair. On BUSI 0.76 gives 153
            groups of 346 images, as many as were counted by eye (see `curation`). Just below, from
            0.75 down, lie other sections of one lesion.

    Returns:
        The pairs. Time grows about as n log n; experiments/RESULTS.md has the times.
    """
    lower = max(_SET_FOR - threshold, 0.0)
    first, second, view, mirrored = _candidates(fingerprints, lower)
    rough = _rough(fingerprints)
    fine = functools.lru_cache(8192)(lambda index: _fine(fingerprints[index]))

    def similarities(start: int) -> list[float]:
        scores = []
        for number in range(start, min(start + _CHUNK, len(first))):
            one, other, start_view = first[number], second[number], _VIEWS[view[number]]
            found = registered(rough[one], rough[other], start_view, mirrored=mirrored[number],
                                steps=_ROUGH_STEPS)  # fmt: skip
            if found is None or found[0] < _ROUGHLY - lower:
                scores.append(-1.0)
            else:
                scores.append(
                    similarity(fine(one), fine(other), start_view, mirrored=mirrored[number])
                )
        return scores

    # In chunks, as each costs a few microseconds and there may be millions.
    with ThreadPoolExecutor(2) as pool:
        chunks = range(0, len(first), _CHUNK)
        done = pool.map(similarities, chunks)
        bar = tqdm(done, "comparing look-alikes", len(chunks), leave=False, disable=None)
        scores = np.fromiter((score for chunk in bar for score in chunk), np.float32, len(first))
    kept = np.flatnonzero(scores >= threshold)
    low, high = np.minimum(first, second)[kept], np.maximum(first, second)[kept]
    order = np.lexsort((high, low))
    return Pairs(low[order], high[order], scores[kept][order], mirrored[kept][order])


def _candidates(
    fingerprints: np.ndarray, lower: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return which image's view is like which whole image: (image, other, view, mirrored).

    Args:
        fingerprints: uint8 [n, 64, 64].
        lower: by how much the floors are lowered.
    """
    count = len(fingerprints)
    whole = np.empty((count, _WAVES**2), np.float32)
    tangents = np.empty((count, 7, _WAVES**2), np.float32)
    for rows in _blocks(count):
        patterns = _coarse(fingerprints[rows], _VIEWS[0], mirrored=False)
        whole[rows], tangents[rows] = _waves(patterns), _tangents(patterns)
    order = np.arange(count) if count <= _EXACT else side_by_side(whole)
    whole, tangents = whole[order], tangents[order]
    nearest = _exact(whole) if count <= _EXACT else _graph(whole)
    found = []
    for rows in tqdm(list(_blocks(count)), "looking for twins", leave=False, disable=None):
        image, prints = np.arange(count)[rows][:, None], fingerprints[order[rows]]
        for number, view in enumerate(_VIEWS):
            for mirrored in (False, True):
                waves = _waves(_coarse(prints, view, mirrored=mirrored))
                correlation, other = nearest(waves)
                row, rank = np.nonzero(
                    (correlation >= _ALIKE - lower) & (other >= 0) & (other != image)
                )
                other = other[row, rank]
                parts = tangents[other] @ waves[row, :, None]
                length = np.linalg.norm(parts[..., 0], axis=1)
                kept = length >= _TANGENT - lower
                row, other, length = row[kept], other[kept], length[kept]
                found.append(
                    (
                        order[rows][row],
                        order[other],
                        np.full(len(row), number, np.int8),
                        np.full(len(row), mirrored),
                        length,
                    )
                )
    if not found:
        return (*(np.empty(0, int) for _ in range(3)), np.empty(0, bool))
    image, other, view, mirrored, length = map(np.concatenate, zip(*found, strict=True))
    best = _once(np.minimum(image, other), np.maximum(image, other), view, mirrored, length)
    best = best[_worth(image[best], other[best], length[best], _CLOSE - lower)]
    return image[best], other[best], view[best], mirrored[best]


def _once(one, other, view, mirrored, length) -> np.ndarray:
    """Return where each pair is in its best view, which is where registration starts."""
    order = np.lexsort((mirrored, view, -length, other, one))
    new = (np.diff(one[order], prepend=-1) != 0) | (np.diff(other[order], prepend=-1) != 0)
    return order[new]


def _worth(one, other, length, close: float) -> np.ndarray:
    """Return which pairs are close, or among the best of one of the two: bool."""
    ends, pair = np.concatenate([one, other]), np.tile(np.arange(len(one)), 2)
    order = np.lexsort((-length[pair], ends))
    _, starts, counts = np.unique(ends[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    worth = length >= close
    worth[pair[order[rank < _BEST]]] = True
    return worth


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def _exact(whole: np.ndarray):
    """Return a function from patterns to (correlation, index) of their nearest: compares all."""
    neighbours = min(_NEIGHBOURS + 1, len(whole))

    def nearest(patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        correlation = patterns @ whole.T
        index = np.argpartition(-correlation, neighbours - 1, axis=1)[:, :neighbours]
        return np.take_along_axis(correlation, index, axis=1), index

    return nearest


def _graph(whole: np.ndarray):
    """Return the same from a graph of neighbours (HNSW), which a search walks in log n steps.

    Reference:
        Malkov, Yashunin: Efficient and robust approximate nearest neighbor search using
        hierarchical navigable small world graphs. IEEE TPAMI 42 (2020) 824-836.
    """
    import faiss

    # Numbers of 8 bits stay in a processor's cache for longer: a search among 100,000 takes 46 us
    # instead of 67, and either way 95 % of the nearest of 30,000 are found. Only the first floor
    # sees correlations that are as coarse.
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexHNSWSQ(whole.shape[1], kind, 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 32
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # several would build another graph each time
    try:
        index.train(whole)
        for rows in tqdm(list(_blocks(len(whole))), "linking images", leave=False, disable=None):
            index.add(whole[rows])
    finally:
        faiss.omp_set_num_threads(threads)
    return lambda patterns: index.search(patterns, _NEIGHBOURS + 1)


def _coarse(fingerprints: np.ndarray, view, *, mirrored: bool) -> np.ndarray:
    """Return the patterns of one view of some images: float32 [n, 16, 16]."""
    (left, right), (top, bottom) = view
    images = fingerprints[:, :, ::-1] if mirrored else fingerprints
    across, down = _shrinking(left, right), _shrinking(top, bottom)
    small = down @ images.astype(np.float32) @ across.T
    return _pattern(small, _smoothing(_COARSE, 2.5), _smoothing(_COARSE, 3.75))


def _waves(patterns: np.ndarray) -> np.ndarray:
    """Return the lowest waves of [..., 16, 16]: float32 [..., 64], of mean 0, of length 1 or 0."""
    cosines = _cosines()
    waves = (cosines @ patterns @ cosines.T).reshape(*patterns.shape[:-2], -1)
    waves[..., 0] = 0  # the mean; left in, as 64 numbers are faster to compare than 63
    length = np.linalg.norm(waves, axis=-1, keepdims=True)
    # Without structure there is only rounding left; it must not be like anything.
    return np.where(length > 1e-2, waves / np.maximum(length, 1e-2), 0).astype(np.float32)


def _tangents(patterns: np.ndarray) -> np.ndarray:
    """Return what each pattern turns into when it is moved a little: float32 [n, 7, 64].

    The pattern and how it changes as an affine map sets in, as waves that are orthonormal: a unit
    vector's length among them is its correlation with the best sum of the seven.

    Reference:
        Simard, LeCun, Denker: Efficient pattern recognition using a new transformation distance.
        NIPS 5 (1993) 50-58.
    """
    down, across = np.gradient(patterns, axis=(1, 2))
    x = np.linspace(-1, 1, _COARSE, dtype=np.float32)
    y = x[:, None]
    changes = across, across * x, across * y, down, down * x, down * y
    waves = _waves(np.stack([patterns, *changes], axis=1))
    products = waves @ waves.transpose(0, 2, 1) + 1e-4 * np.eye(7, dtype=np.float32)
    return np.linalg.solve(np.linalg.cholesky(products), waves)


def _rough(images: np.ndarray) -> np.ndarray:
    """Return the patterns that are registered roughly: float32 [n, 24, 24]."""
    found = np.empty((len(images), _ROUGH, _ROUGH), np.float32)
    shrink, soft = _shrinking(0, 1, _ROUGH), _smoothing(_ROUGH, 0.5)
    slow, wide = _smoothing(_ROUGH, _ROUGH / 12), _smoothing(_ROUGH, _ROUGH / 8)
    for rows in _blocks(len(images)):
        small = shrink @ images[rows].astype(np.float32) @ shrink.T
        found[rows] = soft @ _pattern(small, slow, wide) @ soft.T
    return found


def _fine(image: np.ndarray) -> np.ndarray:
    """Return the pattern of one image that is registered: float32 [48, 48]."""
    small = cv2.resize(image.astype(np.float32), (_FINE, _FINE), interpolation=cv2.INTER_AREA)
    pattern = _pattern(small, _smoothing(_FINE, 4.0), _smoothing(_FINE, 6.0))
    return cv2.GaussianBlur(pattern, (0, 0), 0.5)


def _pattern(images: np.ndarray, slow: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Return [..., s, s] less its slow changes, in local standard deviations, marks cut off.

    Calipers and text are the brightest there is; at 2.5 deviations they weigh no more than an echo.
    """
    high = images - slow @ images @ slow.T
    deviation = np.sqrt(wide @ (high * high) @ wide.T)
    return np.clip(high / (deviation + 2.0), -2.5, 2.5).astype(np.float32)


@functools.cache
def _smoothing(side: int, sigma: float) -> np.ndarray:
    """Return the matrix [side, side] that blurs with a Gaussian, its rows summing to 1."""
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
def _shrinking(start: float, end: float, side: int = _COARSE) -> np.ndarray:
    """Return the matrix [side, 64] that cuts a part out of a line and shrinks it by area."""
    edges = np.linspace(start * SIDE, end * SIDE, side + 1)
    pixel = np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    covered = np.maximum(covered, 0)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
