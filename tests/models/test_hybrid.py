"""The hybrid is its two branches, joined cell by cell on equal terms."""

import keras
import numpy as np
import pytest
from swin_files import TINY, swin_tensors, write_swin

from breastus.models.registry import build_model


@pytest.mark.parametrize(("size", "side"), [(192, 6), (224, 7), (384, 12)])
def test_the_maps_meet(size, side):
    model = build_model("hybrid", image_size=size)
    assert model.get_layer("feature_map").output.shape == (None, side, side, 192 + 128)
    assert model.get_layer("features").output.shape == (None, 2 * (192 + 128))


def test_neither_branch_drowns_the_other():
    keras.utils.set_random_seed(0)
    model = build_model("hybrid", image_size=192)
    image = np.random.default_rng(0).normal(size=(1, 192, 192, 3)).astype("float32")
    joined = keras.Model(model.input, model.get_layer("feature_map").output)(image)
    near, far = np.split(keras.ops.convert_to_numpy(joined), [192], axis=-1)
    for branch in (near, far):
        np.testing.assert_allclose((branch**2).mean(axis=-1), 1.0, atol=0.05)


@pytest.mark.slow
def test_weights_go_to_the_swin_branch(tmp_path):
    folder = write_swin(tmp_path / "tiny", swin_tensors(**TINY), **TINY, size=224)
    model = build_model("hybrid_large", weights=str(folder))
    alone = build_model("swin", weights=str(folder))
    branch = model.get_layer("transformer").get_weights()
    for mine, theirs in zip(branch, alone.get_weights()[: len(branch)], strict=True):
        np.testing.assert_array_equal(mine, theirs)
