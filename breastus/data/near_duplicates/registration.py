"""Register two small patterns: two arrays in, an affine map and their correlation out.

The map maximises the enhanced correlation coefficient. Patterns are float32 [s, s] without slow
changes of brightness, as `breastus.data.near_duplicates.search` makes them.

Reference:
    Evangelidis, Psarakis: Parametric image alignment using enhanced correlation coefficient
    maximization. IEEE TPAMI 30 (2008) 1858-1865.
"""

import numpy as np

from breastus.utils.opencv import cv2

# Limits within which two images can show the same scene: scale, shear or rotation, shared area.
_SCALES = (0.5, 2.0)
_SHEAR = 0.2
_SHARED_AREA = 0.4
_STEPS = 30


def register(
    image: np.ndarray, other: np.ndarray, view, *, mirrored: bool, steps: int
) -> tuple[float, np.ndarray] | None:
    """Return the correlation of two patterns and the affine map [2, 3], or None if it fails.

    Registration starts at `view`, the part of `image` that looks like `other`, ((left, right),
    (top, bottom)) as fractions. With `mirrored`, `image` is mirrored first; `steps` is the maximum
    number of iterations.
    """
    (left, right), (top, bottom) = view
    side = len(image)
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    start = np.array([[right - left, 0, left * side], [0, bottom - top, top * side]], np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-3)
    try:
        return cv2.findTransformECC(other, image, start, cv2.MOTION_AFFINE, criteria, None, 3)
    except cv2.error:  # no convergence, which is normal for images of different scenes
        return None


def registered_correlation(image: np.ndarray, other: np.ndarray, view, *, mirrored: bool) -> float:
    """Return the correlation of the area that two registered patterns share.

    It is -1 if registration fails or leaves the limits of one scene.
    """
    result = register(image, other, view, mirrored=mirrored, steps=_STEPS)
    if result is None:
        return -1.0
    _, affine = result
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    scales, shears = np.diag(affine), affine[[0, 1], [1, 0]]
    if np.abs(shears).max() > _SHEAR or not all(_SCALES[0] <= s <= _SCALES[1] for s in scales):
        return -1.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, affine, other.shape, flags=flags)
    shared = cv2.warpAffine(np.ones_like(image), affine, other.shape, flags=flags) > 0.99
    if shared.mean() < _SHARED_AREA:
        return -1.0
    one, two = moved[shared] - moved[shared].mean(), other[shared] - other[shared].mean()
    length = np.linalg.norm(one) * np.linalg.norm(two)
    return float(one @ two / length) if length > 1e-6 else -1.0
