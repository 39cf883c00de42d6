"""Cached features train a head like features of each epoch, and a training with them resumes."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from fitting import assert_equal, fit, read_history
from keras import layers

from breastus.config.schema import Config, TrainingConfig
from breastus.errors import ConfigError, ModelError, RunError, TrainingError
from breastus.models.backbone import split_backbone_head
from breastus.models.registry import build_model
from breastus.training.feature_cache import FeatureCache, SharedFeatureCache
from breastus.training.lesion_head import add_lesion_head
from breastus.training.stages import stages_of


@pytest.fixture(
    scope="module", params=["compact", pytest.param("efficientnet_mil", marks=pytest.mark.slow)]
)
def head_only(tiny_config, request):
    return tiny_config.replace(
        {
            "model": {"name": request.param, "image_size": 64},
            "training": {
                "epochs": 3,
                "head_epochs": 3,
                "cached_views": 3,
                "mask_weight": 1.0,
                "accumulation_steps": 2,
                "layer_decay": 0.5,  # says nothing to a head
            },
        }
    )


@pytest.fixture(scope="module")
def kept(head_only, tables, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("kept") / "run", head_only, tables)


@pytest.mark.slow
def test_with_a_view_an_epoch_nothing_is_different(head_only, kept, tables, tmp_path):
    fresh = fit(tmp_path / "run", head_only.replace({"training": {"cached_views": 0}}), tables)
    assert set(fresh) == set(kept)
    # Weights are no measure: early on, Adam makes full steps of gradients that are next to nothing.
    # Features in float16 may move an image across the threshold.
    names = [name for name in read_history(tmp_path / "run")[0] if name != "seconds"]
    for name, ours, expected in zip(names, kept["history"].T, fresh["history"].T, strict=True):
        images = {"atol": 1.01 / len(tables["train"])} if "accuracy" in name else {}
        np.testing.assert_allclose(ours, expected, rtol=1e-2, err_msg=name, **images)


@pytest.mark.slow
def test_the_backbone_stays_as_it_came_and_the_head_does_not(head_only, kept):
    keras.utils.set_random_seed(head_only.seed)
    name = head_only.model.name
    model = build_model(name, image_size=64)
    layers_of = [layer.name for layer in model.layers for _ in layer.weights]
    moved = {
        name
        for position, (name, weight) in enumerate(zip(layers_of, model.get_weights(), strict=True))
        if not np.array_equal(weight, kept[f"best.keras/{position}"])
    }
    own = {"cell_conv", "local_conv", "lesion_logits"} if name == "efficientnet_mil" else set()
    assert {"probabilities", *own} <= moved
    assert not [layer for layer in moved if layer.startswith(("stem", "stage", "block", "head"))]


@pytest.mark.slow
def test_killed_and_taken_up_it_ends_alike(head_only, kept, tables, tmp_path, interrupted):
    assert_equal(interrupted(tmp_path / "run", head_only, tables, 1, 2), kept)
    assert not list((tmp_path / "run").glob("tmp*"))


@pytest.mark.slow
def test_runs_on_other_parts_of_the_same_images_share_them(
    head_only, tables, tmp_path, monkeypatch
):
    rows = pd.concat(tables.values(), ignore_index=True)
    config = head_only.replace({"training": {"epochs": 1, "head_epochs": 1}})
    made = []

    def counted(*args, **kwargs):
        made.append(kwargs["images"])
        return FeatureCache(*args, **kwargs)

    monkeypatch.setattr("breastus.training.trainer.FeatureCache", counted)

    def run(name, held_out, shared, config=config):
        split = np.repeat("train", len(rows)).astype(object)
        split[held_out], split[8:12] = "val", "test"
        parts = {
            part: rows[split == part].sample(frac=1, random_state=1).reset_index(drop=True)
            for part in ("train", "val", "test")
        }
        return fit(tmp_path / name, config, parts, shared=shared)

    shared = SharedFeatureCache(tmp_path)
    first = run("first", slice(0, 4), shared)
    assert made == [24, 24]  # views of all images, and all of them as they are
    second = run("second", slice(4, 8), shared)
    assert made == [24, 24]
    alone = run("alone", slice(4, 8), SharedFeatureCache(tmp_path))
    assert_equal(second, alone)
    assert not np.array_equal(first["history"], second["history"])
    run("seed", slice(4, 8), shared, config.replace({"seed": 1}))
    assert len(made) == 6
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize("name", ["cnn", "compact", "swin_micro"])
def test_backbone_and_head_are_the_network(name):
    size = 112 if name == "swin_micro" else 64
    model = build_model(name, image_size=size)
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    backbone, head = split_backbone_head(model)
    np.testing.assert_allclose(head(backbone(images)), model(images), atol=1e-6)
    owned = {id(variable) for variable in model.weights}
    assert {id(variable) for variable in [*backbone.weights, *head.weights]} == owned
    if name == "compact":
        backbone, head = split_backbone_head(add_lesion_head(model))
        assert set(head(backbone(images))) == {"probabilities", "lesion_logits"}
    with pytest.raises(ModelError, match=r"headless"):
        split_backbone_head(keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="headless"))


def doubled():
    """A backbone of [B, 1] that gives twice its input."""
    value = keras.Input((1,))
    return keras.Model(value, layers.Rescaling(2.0)(value))


def numbers(views: int, images: int = 5):
    """Batches of 100 * view + image, which are their own targets."""
    return [
        tf.data.Dataset.range(100 * view, 100 * view + images)
        .map(lambda x: (tf.cast([x], tf.float32), tf.cast(x, tf.int32)))
        .batch(2)
        for view in range(views)
    ]


def test_views_come_in_turn_and_an_image_drawn_twice_in_two(tmp_path):
    kept = FeatureCache(doubled(), numbers(3), images=5, folder=tmp_path)
    order = lambda epoch: tf.constant([4, 1, 6, 2])  # noqa: E731 - 6 is image 1 again
    batches = kept.training(order, batch_size=3, accumulation_steps=1, first_epoch=1, epochs=4)
    features, targets = zip(*batches.as_numpy_iterator(), strict=True)
    views = [1, 1, 2, 1], [2, 2, 0, 2], [0, 0, 1, 0]  # of the epochs 1, 2 and 3
    expected = (100 * np.array(views) + [4, 1, 1, 2]).ravel()
    assert [len(batch) for batch in targets] == [3, 1] * 3
    np.testing.assert_array_equal(np.concatenate(targets), expected)
    np.testing.assert_array_equal(np.concatenate(features)[:, 0], 2.0 * expected)
    once = list(kept.once(batch_size=4).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([target for _, target in once]), range(5))


def test_a_part_of_the_images_is_drawn_from_or_passed_through(tmp_path):
    kept = FeatureCache(doubled(), numbers(2), images=5, folder=tmp_path)
    order = lambda epoch: tf.constant([1, 0, 2])  # noqa: E731 - 2 is the first again
    batches = kept.training(
        order, rows=[4, 2], batch_size=3, accumulation_steps=1, first_epoch=0, epochs=2
    )
    targets = [target.tolist() for _, target in batches.as_numpy_iterator()]
    assert targets == [[2, 4, 104], [102, 104, 4]]
    once = kept.once(rows=[3, 0], batch_size=4).as_numpy_iterator()
    assert [target.tolist() for _, target in once] == [[3, 0]]


def test_what_float16_or_the_disk_cannot_hold_is_refused(tmp_path, monkeypatch):
    large = [numbers(1)[0].map(lambda value, target: (value + 1e5, target))]
    with pytest.raises(TrainingError, match=r"not finite in float16.*cached_views=0"):
        FeatureCache(doubled(), large, images=5, folder=tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(RunError, match=r"No space left.*fewer views"):
        FeatureCache(doubled(), numbers(1), images=5, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_backbone_that_trains_keeps_no_views():
    settings = {"epochs": 5, "cached_views": 2}
    with pytest.raises(ConfigError, match=r"head_epochs must be training.epochs \(5\)"):
        stages_of(TrainingConfig(**settings, head_epochs=4))
    assert stages_of(TrainingConfig(**settings, head_epochs=5))
    with pytest.raises(
        ConfigError, match=r"augmentation\.mixup must be 0 with training\.cached_views"
    ):
        Config.from_dict({"training": {"cached_views": 2}, "augmentation": {"mixup": 0.1}})
