"""Fixtures shared by all tests; markers are explained in setup.cfg."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; tests that take it are marked `data`."""
    folder = os.environ.get("BREASTUS_TEST_DATA")
    if not folder:
        pytest.skip("BREASTUS_TEST_DATA does not name a folder of real images")
    return Path(folder)


@pytest.fixture
def speckle():
    """A function (height, width, seed) -> uint8 [H, W, 3]: smooth grey texture with structure."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        rows = np.cumsum(rng.normal(size=(height, 1)), axis=0)
        columns = np.cumsum(rng.normal(size=(1, width)), axis=1)
        grey = 128 + 8 * rows + 8 * columns + rng.normal(scale=12, size=(height, width))
        return np.repeat(np.clip(grey, 16, 255).astype(np.uint8)[..., None], 3, axis=-1)

    return make
