"""Tiny checkpoints, one loaded model, and what `transformers` computes with the same weights."""

from pathlib import Path

import numpy as np
import pytest
import tiny_llava


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """A checkpoint in the original layout. Do not change it."""
    return tiny_llava.write_original(tmp_path_factory.mktemp("vlm") / "original")


@pytest.fixture(scope="module")
def model(original):
    """The checkpoint, loaded in float32."""
    from breastus.vlm.checkpoint import Checkpoint
    from breastus.vlm.llava import LlavaMed

    return LlavaMed(Checkpoint(original), precision="float32")


@pytest.fixture(scope="session")
def reference() -> dict[str, np.ndarray]:
    """Arrays that `make_reference.py` wrote."""
    with np.load(Path(__file__).parent / "reference.npz") as file:
        return dict(file)
