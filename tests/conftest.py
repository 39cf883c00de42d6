"""Fixtures shared by all tests; markers are explained in setup.cfg."""

import gc
import os
import sys
import warnings
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# The same examples each time; `make test-all` draws new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two processes share two cores: one thread each computes, and the other feeds it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that the two processes end together."""
    long = ("test_end_to_end.py", "workflows", "training", "deploy", "models", "cli")
    items.sort(key=lambda item: not set(long) & set(item.path.parts))
    items.sort(key=lambda item: item.path.name != long[0])


@pytest.fixture(scope="module", autouse=True)
def _no_networks_left_behind():
    """Let the networks and graphs of a file go, which otherwise pile up to gigabytes."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
    gc.collect()
    gc.freeze()  # what is left, a million objects of TensorFlow's, is not looked through again


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; tests that take it are marked `data`."""
    if not (named := os.environ.get("BREASTUS_TEST_DATA")):
        pytest.skip("BREASTUS_TEST_DATA does not name a folder of real images")
    folder = Path(named).absolute()  # tests change the working folder
    if not folder.is_dir():
        pytest.skip(f"BREASTUS_TEST_DATA names {folder}, which is not there")
    return folder


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


@pytest.fixture
def write_image(speckle):
    """A function (path, seed) that writes an image of its own for each seed, and returns the path.

    Images of different seeds are no near-duplicates of each other.
    """
    from breastus.data.images import to_png

    def write(path: Path, seed: int = 0, height: int = 64, width: int = 80) -> Path:
        rng = np.random.default_rng(seed)
        blocks = rng.integers(30, 255, (8, 10)).repeat(8, axis=0).repeat(8, axis=1)
        pixels = speckle(64, 80, seed) // 4 + blocks[..., None].astype(np.uint8) // 4 * 3
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_png(np.resize(pixels, (height, width, 3)).astype(np.uint8)))
        return path

    return write


@pytest.fixture
def class_folders(tmp_path, write_image):
    """A function (no_lump=.., lump=.., below=..) that writes class folders; returns their root."""

    def write(*, no_lump: int = 12, lump: int = 12, below: str = "", first_seed: int = 0) -> Path:
        root = tmp_path / "images"
        seed = first_seed
        for label, count in (("no_lump", no_lump), ("lump", lump)):
            for number in range(count):
                write_image(root / below / label / f"{label} {number}.png", seed)
                seed += 1
        return root

    return write


# Small enough for seconds, large enough for both classes in each split.
TINY = {
    "data": {"phantom_images": 40},
    "model": {"image_size": 32},
    "training": {"epochs": 2, "batch_size": 8},
    "evaluation": {"resamples": 100},
}


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """A folder of 40 phantoms."""
    from breastus.data.sources.phantom import write_phantoms

    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "set", count=40, seed=0)


@pytest.fixture(scope="session")
def tiny_config(phantoms):
    """Settings of a training on phantoms that takes seconds."""
    from breastus.config.schema import Config

    return Config.from_dict(TINY).replace({"data": {"source": str(phantoms)}})


@pytest.fixture(scope="session")
def tiny_run(tiny_config, tmp_path_factory):
    """A finished run; not to be changed."""
    from breastus.workflows.train import train

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train("cnn", config=tiny_config, out=tmp_path_factory.mktemp("runs") / "cnn")
