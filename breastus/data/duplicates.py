"""Near-duplicates: small grey copies of the images in, pairs that show one scene out.

Found in two steps. Candidates: each image's *views* (whole, and with an edge or two cut off, each
also mirrored) are compared with all whole images, as 16 x 16 patterns of what is left when slow
changes of brightness are taken out. Proof: a candidate is registered (an affine map, by the
enhanced correlation coefficient), roughly first, which most strangers do not pass; the two are a
pair when what they share then correlates.
Gain, re-encoding, size, calipers and text hardly touch such patterns; crops, shifts and small
changes of the section are what the views and the registration are for.

Reference:
    Evangelidis, Psarakis: Parametric image alignment using enhanced correlation coefficient
    maximization. IEEE TPAMI 30 (2008) 1858-1865.
"""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from breastus.opencv import cv2

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
# From this correlation of the coarse patterns two images are candidates. The true pairs of BUSI
# have at least 0.72; at 0.6 there are 0.6 wrong candidates an image.
_CANDIDATE = 0.6
_NEIGHBOURS = 8  # candidates a view, at the most
# Candidates an image, at the most: of 2,000 phantoms each is like 54 strangers in one view or
# another, and like more the more there are.
_MOST = 32
# Rough registration. After 3 steps 4,240 pairs of BUSI and of phantoms correlated by 0.85 and more,
# where 0.76 was enough in the end; 500 and 3,000 strangers all by less.
_ROUGH, _ROUGH_STEPS = 24, 3
_EXACT = 8192  # up to so many images all are compared with all; above, a graph of neighbours is
_BLOCK = 2048  # images at a time
_CHUNK = 256  # candidates at a time

# A registration beyond these is no longer that of one scene: scale, shear or turn, shared part.
_SCALES = (0.5, 2.0)
_SHEAR = 0.2
_SHARED = 0.4
_STEPS = 30


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
    grey = cv2().cvtColor(pixels, cv2().COLOR_RGB2GRAY)
    bright = grey > _BLACK
    rows = np.flatnonzero(bright.mean(axis=1) > _BRIGHT_SHARE)
    columns = np.flatnonzero(bright.mean(axis=0) > _BRIGHT_SHARE)
    if rows.size and columns.size:
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cv2().resize(grey, (SIDE, SIDE), interpolation=cv2().INTER_AREA)


def near_duplicates(fingerprints: np.ndarray, *, threshold: float) -> Pairs:
    """Return the pairs of images that show one scene.

    Args:
        fingerprints: uint8 [n, 64, 64], as from `fingerprint`; one that is all zeros, or of one
            grey level, is like no other.
        threshold: correlation from which two registered images are a pair. On BUSI 0.76 gives 153
            groups of 346 images, as many as were counted by eye (see `curation`). Just below, from
            0.75 down, lie other sections of one lesion.

    Returns:
        The pairs. The graph is walked in log n steps an image; while the candidates an image has
        still become more, up to `_MOST`, time grows a little faster than n log n
        (experiments/RESULTS.md has the times).
    """
    first, second, view, mirrored = _candidates(fingerprints, min(_CANDIDATE, threshold - 0.1))
    rough = _rough(fingerprints)
    fine = functools.lru_cache(8192)(lambda index: _fine(fingerprints[index]))

    def similarities(start: int) -> list[float]:
        scores = []
        for number in range(start, min(start + _CHUNK, len(first))):
            one, other, start_view = first[number], second[number], _VIEWS[view[number]]
            found = _registered(rough[one], rough[other], start_view, mirrored=mirrored[number],
                                steps=_ROUGH_STEPS)  # fmt: skip
            if found is None or found[0] < threshold:
                scores.append(-1.0)
            else:
                scores.append(_similarity(fine(one), fine(other), start_view, mirrored[number]))
        return scores

    # In chunks, as each costs a few microseconds and there may be millions.
    with ThreadPoolExecutor(2) as pool:
        chunks = range(0, len(first), _CHUNK)
        bar = tqdm(
            pool.map(similarities, chunks), "comparing look-alikes", len(chunks), leave=False,
            disable=None,
        )  # fmt: skip
        scores = np.fromiter((score for chunk in bar for score in chunk), np.float32, len(first))
    kept = np.flatnonzero(scores >= threshold)
    low, high = np.minimum(first, second)[kept], np.maximum(first, second)[kept]
    order = np.lexsort((high, low))
    return Pairs(low[order], high[order], scores[kept][order], mirrored[kept][order])


def _candidates(
    fingerprints: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return which image's view is like which whole image: (image, other, view, mirrored)."""
    count = len(fingerprints)
    whole = np.concatenate(
        [_coarse(fingerprints[rows], _VIEWS[0], mirrored=False) for rows in _blocks(count)]
        or [np.empty((0, _COARSE**2), np.float32)]
    )
    nearest = _exact(whole) if count <= _EXACT else _graph(whole)
    found = []
    for rows in tqdm(list(_blocks(count)), "looking for twins", leave=False, disable=None):
        block = []
        for number, view in enumerate(_VIEWS):
            for mirrored in (False, True):
                pattern = _coarse(fingerprints[rows], view, mirrored=mirrored)
                correlation, other = nearest(pattern)
                image = np.arange(count)[rows][:, None]
                row, rank = np.nonzero((correlation >= floor) & (other >= 0) & (other != image))
                block.append(
                    (
                        image[row, 0],
                        other[row, rank],
                        np.full(len(row), number, np.int8),
                        np.full(len(row), mirrored),
                        correlation[row, rank],
                    )
                )
        found.append(_best(*map(np.concatenate, zip(*block, strict=True))))
    if not found:
        return (*(np.empty(0, int) for _ in range(3)), np.empty(0, bool))
    image, other, view, mirrored, correlation = map(np.concatenate, zip(*found, strict=True))
    best = _once(np.minimum(image, other), np.maximum(image, other), view, mirrored, correlation)
    return image[best], other[best], view[best], mirrored[best]


def _best(image, other, view, mirrored, correlation) -> tuple[np.ndarray, ...]:
    """Return each image's best candidates, each in its best view."""
    found = image, other, view, mirrored, correlation
    best = _once(*found)
    image, other, view, mirrored, correlation = (column[best] for column in found)
    order = np.lexsort((other, -correlation, image))
    _, starts, counts = np.unique(image[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    kept = np.sort(order[rank < _MOST])
    return image[kept], other[kept], view[kept], mirrored[kept], correlation[kept]


def _once(one, other, view, mirrored, correlation) -> np.ndarray:
    """Return where each pair is in its best view, which is where registration starts."""
    order = np.lexsort((mirrored, view, -correlation, other, one))
    new = (np.diff(one[order], prepend=-1) != 0) | (np.diff(other[order], prepend=-1) != 0)
    return order[new]


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

    index = faiss.IndexHNSWFlat(whole.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 48
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # several would build another graph each time
    try:
        for rows in tqdm(list(_blocks(len(whole))), "linking images", leave=False, disable=None):
            index.add(whole[rows])
    finally:
        faiss.omp_set_num_threads(threads)
    return lambda patterns: index.search(patterns, _NEIGHBOURS + 1)


def _coarse(fingerprints: np.ndarray, view, *, mirrored: bool) -> np.ndarray:
    """Return the patterns of one view of some images: float32 [n, 256], mean 0, length 1 or 0."""
    (left, right), (top, bottom) = view
    images = fingerprints[:, :, ::-1] if mirrored else fingerprints
    across, down = _shrinking(left, right), _shrinking(top, bottom)
    small = down @ images.astype(np.float32) @ across.T
    pattern = _pattern(small, _smoothing(_COARSE, 2.5), _smoothing(_COARSE, 3.75))
    flat = pattern.reshape(len(pattern), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    # Without structure there is only rounding left; it must not be like anything.
    return np.where(length > 1e-2, flat / np.maximum(length, 1e-2), 0).astype(np.float32)


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
    small = cv2().resize(image.astype(np.float32), (_FINE, _FINE), interpolation=cv2().INTER_AREA)
    pattern = _pattern(small, _smoothing(_FINE, 4.0), _smoothing(_FINE, 6.0))
    return cv2().GaussianBlur(pattern, (0, 0), 0.5)


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
def _shrinking(start: float, end: float, side: int = _COARSE) -> np.ndarray:
    """Return the matrix [side, 64] that cuts a part out of a line and shrinks it by area."""
    edges = np.linspace(start * SIDE, end * SIDE, side + 1)
    pixel = np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    covered = np.maximum(covered, 0)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)


def _registered(
    image: np.ndarray, other: np.ndarray, view, *, mirrored: bool, steps: int
) -> tuple[float, np.ndarray] | None:
    """Return the correlation of two patterns once one is registered to the other, and how.

    Args:
        image: float32 [s, s], of which the view is like `other`.
        other: float32 [s, s].
        view: where registration starts.
        mirrored: whether `image` is to be mirrored first.
        steps: of the registration, at the most.

    Returns:
        The correlation and the affine map, float32 [2, 3]; None if they cannot be registered.
    """
    (left, right), (top, bottom) = view
    side = len(image)
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    start = np.array([[right - left, 0, left * side], [0, bottom - top, top * side]], np.float32)
    criteria = (cv2().TERM_CRITERIA_EPS | cv2().TERM_CRITERIA_COUNT, steps, 1e-3)
    try:
        return cv2().findTransformECC(other, image, start, cv2().MOTION_AFFINE, criteria, None, 3)
    except cv2().error:  # it does not converge, which unlike images do not have to
        return None


def _similarity(image: np.ndarray, other: np.ndarray, view, mirrored: bool) -> float:
    """Return the correlation of what two patterns share once registered; -1 if that fails."""
    registered = _registered(image, other, view, mirrored=mirrored, steps=_STEPS)
    if registered is None:
        return -1.0
    _, found = registered
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    scales, shears = np.diag(found), found[[0, 1], [1, 0]]
    if np.abs(shears).max() > _SHEAR or not all(_SCALES[0] <= s <= _SCALES[1] for s in scales):
        return -1.0
    how = cv2().INTER_LINEAR | cv2().WARP_INVERSE_MAP
    moved = cv2().warpAffine(image, found, (_FINE, _FINE), flags=how)
    inside = cv2().warpAffine(np.ones_like(image), found, (_FINE, _FINE), flags=how) > 0.99
    if inside.mean() < _SHARED:
        return -1.0
    one, two = moved[inside] - moved[inside].mean(), other[inside] - other[inside].mean()
    length = np.linalg.norm(one) * np.linalg.norm(two)
    return float(one @ two / length) if length > 1e-6 else -1.0
