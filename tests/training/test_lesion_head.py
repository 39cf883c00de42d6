"""Masks as a second task: targets lie where lesions lie; what is exported knows nothing of them."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from breastus.augmentation.base import image_seed
from breastus.augmentation.policies import build_augmenter
from breastus.config.schema import Config
from breastus.data.pipeline.mask_targets import MaskTargets
from breastus.errors import ConfigError, ModelError
from breastus.models.registry import build_model
from breastus.preprocessing.transform import Transform
from breastus.training.lesion_head import LesionMaskLoss, add_lesion_head, lesion_grid


@pytest.fixture
def table(tmp_path, speckle):
    """Three images: a lump whose mask is the lower left quarter, one without a mask, no lump."""
    pixels = speckle(64, 96)
    mask = np.zeros((64, 96), np.uint8)
    mask[32:, :48] = 255
    for name in ("a", "b", "c"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    return pd.DataFrame(
        {
            "path": [str(tmp_path / f"{name}.png") for name in ("a", "b", "c")],
            "mask_paths": [str(tmp_path / "a_mask.png"), "", ""],
            "label": ["lump", "lump", "no_lump"],
        }
    )


def targets(table, *, transform, move=None, grid=(4, 4)):
    return MaskTargets(
        table,
        crop_and_resize=transform.crop_and_resize_mask,
        size=transform.image_size,
        grid=grid,
        augment_masks=move,
        cache_mb=1,
    )


def cells(masks, indices, seeds=None):
    pairs = [masks(tf.constant(index)) for index in indices]
    drawn = tf.stack([pair[0] for pair in pairs]), tf.stack([pair[1] for pair in pairs])
    seeds = tf.zeros([len(indices), 2], tf.int32) if seeds is None else seeds
    return masks.targets(*drawn, seeds).numpy()


def test_cells_hold_the_share_of_the_lesion_and_what_is_known(table):
    found = cells(targets(table, transform=Transform(image_size=32)), [0, 1, 2])
    assert found.shape == (3, 4, 4, 2)
    expected = np.zeros((4, 4))
    expected[2:, :2] = 1
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=0.15)  # resizing softens borders
    np.testing.assert_array_equal(found[:, 0, 0, 1], [1, 0, 1])
    assert found[1:, ..., 0].max() == 0


def test_a_mask_is_framed_as_its_image_is(tmp_path, table, speckle):
    """Black borders go by the image's own, and letterboxing pads both alike."""
    pixels = np.pad(speckle(64, 96), ((20, 0), (0, 30), (0, 0)))
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[20:, :96] = 255  # the whole image, without its borders
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    squashed = cells(targets(table, transform=Transform(image_size=32)), [0])[0, ..., 0]
    np.testing.assert_array_equal(squashed, 1)
    kept = cells(
        targets(table, transform=Transform(image_size=96, aspect="keep"), grid=(6, 6)), [0]
    )
    np.testing.assert_allclose(kept[0, ..., 0].mean(axis=1), [0, 1, 1, 1, 1, 0], atol=0.02)


@pytest.mark.parametrize("policy", ["study", "ultrasound", "study_jpeg"])
def test_masks_move_with_their_images(policy):
    """A bright square, which is its own mask, stays under its mask."""
    augmenter, erasing = build_augmenter(policy), build_augmenter(policy, erasing=1.0)
    square = np.zeros((2, 64, 64, 3), np.uint8)
    square[:, 10:30, 34:54] = 255
    hits = []
    for index in range(6):
        seeds = tf.stack([image_seed(0, tf.constant(index), tf.constant(i)) for i in range(2)])
        images = augmenter(tf.constant(square), seeds).numpy()[..., 0] > 100
        moved = augmenter.augment_masks(tf.constant(square[..., :1]), seeds).numpy()
        masks = moved[..., 0] > 127
        # What is erased is a lesion all the same.
        also = erasing.augment_masks(tf.constant(square[..., :1]), seeds)
        np.testing.assert_array_equal(also, moved)
        hits.append((images & masks).sum() / max(1, (images | masks).sum()))
        assert masks.any()
    assert np.median(hits) > 0.9


def test_loss_is_the_mean_cross_entropy_of_cells_that_count():
    share = np.array([[[0.0, 1.0], [0.25, 1.0]]], np.float32)
    weight = np.array([[[1.0, 1.0], [1.0, 0.0]]], np.float32)
    logit = np.array([[[-1.0, 2.0], [0.5, 9.0]]], np.float32)
    probability = 1 / (1 + np.exp(-logit))
    each = -share * np.log(probability) - (1 - share) * np.log(1 - probability)
    expected = (weight * (1 + 2 * share) * each).mean()
    loss = LesionMaskLoss()(np.stack([share, weight], -1), logit[..., None])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_any_network_with_a_map_can_learn_where():
    model = add_lesion_head(build_model("compact", image_size=64))
    assert lesion_grid(model) == (2, 2)
    assert set(model.output) == {"probabilities", "lesion_logits"}
    with pytest.raises(ModelError, match="cnn has neither"):
        add_lesion_head(build_model("cnn", image_size=32))


def test_own_lesion_logits_are_taken_and_feed_the_probabilities():
    network = build_model("efficientnet_mil", image_size=64)
    model = add_lesion_head(network)
    assert lesion_grid(model) == (4, 4)
    assert len(model.layers) == len(network.layers)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    both = model(images, training=False)
    np.testing.assert_allclose(both["probabilities"], network(images, training=False), atol=1e-6)
    before = both["probabilities"].numpy()
    layer = network.get_layer("lesion_logits")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + 5.0])
    assert np.abs(network(images, training=False).numpy() - before).max() > 1e-4


def test_mixup_is_refused():
    with pytest.raises(
        ConfigError, match=r"augmentation\.mixup must be 0 with training\.mask_weight"
    ):
        Config.from_dict({"training": {"mask_weight": 1.0}, "augmentation": {"mixup": 0.2}})


@pytest.mark.slow
def test_a_run_learns_from_masks_and_exports_probabilities(tiny_config, tmp_path):
    from breastus.workflows.train import train

    config = tiny_config.replace(
        {"training": {"mask_weight": 1.0, "epochs": 2}, "model": {"name": "compact"}}
    )
    run = train("compact", config=config, out=tmp_path / "run")
    assert {"lesion_logits_loss", "accuracy", "val_accuracy"} <= set(run.history)
    assert (run.history["val_lesion_logits_loss"] == 0).all()
    assert (run.history["lesion_logits_loss"] > 0).all()
    both = run.history["probabilities_loss"] + run.history["lesion_logits_loss"]
    np.testing.assert_allclose(run.history["loss"], both, rtol=0.05)
    np.testing.assert_allclose(
        run.history["val_loss"], run.history["val_probabilities_loss"], rtol=1e-5
    )
    network = keras.models.load_model(run.path / "best.keras", safe_mode=True)
    assert network.output_shape == (None, 2)
