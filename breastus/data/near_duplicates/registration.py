"""Registration of two small patterns: how one has to be moved to lie on the other, and how alike.

The map is affine; it is found by the enhanced correlation coefficient. Patterns are float32 [s, s]
without slow changes of brightness, as `duplicates` makes them.

Reference:
    Evangelidis, Psarakis: Parametric image alignment using enhanced correlation coefficient
    maximization. IEEE TPAMI 30 (2008) 1858-1865.
"""

import numpy as np

from breastus.utils.opencv import cv2

# A registration beyond these is no longer that of one scene: scale, shear or turn, shared part.
_SCALES = (0.5, 2.0)
_SHEAR = 0.2
_SHARED = 0.4
_STEPS = 30


def registered(
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
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-3)
    try:
        return cv2.findTransformECC(other, image, start, cv2.MOTION_AFFINE, criteria, None, 3)
    except cv2.error:  # it does not converge, which unlike images do not have to
        return None


def similarity(image: np.ndarray, other: np.ndarray, view, *, mirrored: bool) -> float:
    """Return the correlation of what two patterns share once registered; -1 if that fails."""
    result = registered(image, other, view, mirrored=mirrored, steps=_STEPS)
    if result is None:
        return -1.0
    _, found = result
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    scales, shears = np.diag(found), found[[0, 1], [1, 0]]
    if np.abs(shears).max() > _SHEAR or not all(_SCALES[0] <= s <= _SCALES[1] for s in scales):
        return -1.0
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, found, other.shape, flags=how)
    inside = cv2.warpAffine(np.ones_like(image), found, other.shape, flags=how) > 0.99
    if inside.mean() < _SHARED:
        return -1.0
    one, two = moved[inside] - moved[inside].mean(), other[inside] - other[inside].mean()
    length = np.linalg.norm(one) * np.linalg.norm(two)
    return float(one @ two / length) if length > 1e-6 else -1.0
