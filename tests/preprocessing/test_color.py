import cv2
import numpy as np

from breastus.preprocessing.color import parula
from breastus.preprocessing.normalize import zscore


def test_parula_equals_opencv():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    expected = cv2.applyColorMap(grey, cv2.COLORMAP_PARULA)[..., ::-1]
    # OpenCV's grey is in fixed point: on a tie of two levels it may choose the other one.
    differs = (parula(image).numpy() != expected).any(-1).mean()
    assert differs < 0.002


def test_parula_of_grey_is_the_table_itself():
    levels = np.arange(256, dtype=np.uint8)
    image = np.repeat(levels[:, None, None], 3, axis=-1)
    expected = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_PARULA)[..., ::-1]
    np.testing.assert_array_equal(parula(image), expected)


def test_zscore_equals_its_formula():
    # (255 / 255 - 0.485) / 0.229 and so on, worked by hand.
    white = zscore(np.full((1, 1, 3), 255, np.uint8)).numpy().ravel()
    np.testing.assert_allclose(white, [2.2489, 2.4286, 2.6400], atol=1e-4)
