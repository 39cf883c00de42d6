"""Pretraining tasks of a backbone: a network in, a compiled model and its batches out.

    task = phantom_task(network, config, transform, count=400)
    task = masked_task(network, config, transform, table, masking=Masking(patch=32))
    task.model.fit(task.batches, epochs=..., steps_per_epoch=task.steps)
    task.finish()

The model shares the layers of the network, so training it trains the network.
"""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from breastus.augmentation.base import image_seed
from breastus.augmentation.policies import build_augmenter
from breastus.config.schema import Config
from breastus.data.pipeline.batches import steps_per_epoch, training_dataset
from breastus.data.pipeline.image_cache import ImageCache
from breastus.data.pipeline.phantom_stream import STREAM_HALF_SIZES, phantom_dataset, phantom_labels
from breastus.labels import LABELS
from breastus.models.backbone import nested_layers
from breastus.preprocessing.transform import Transform
from breastus.training.lesion_head import LESION_LOGITS, add_lesion_head, lesion_grid
from breastus.training.network import compile_model, execution_of
from breastus.training.optimizers import make_optimizer
from breastus.training.pretraining.masked_modeling import (
    MaskedL1,
    area_of,
    check_masking,
    hide,
    masked_model,
)
from breastus.training.sampling import epoch_order
from breastus.utils.threads import usable_cores

# The receptive field of the study's CNN is 22 pixels, too small to reconstruct larger patches.
_PATCH, _PATCHES = 32, {"cnn": 16}


@dataclass(frozen=True)
class Masking:
    """Options of masked image modelling."""

    patch: int = _PATCH  # side of the hidden patches in pixels
    ratio: float = 0.6  # share of the patches that are hidden, as in SimMIM
    fill: str = "zero"  # "token", "mean" or "zero", as in `masked_model`

    @classmethod
    def of(
        cls, network: str, *, patch: int | None = None, ratio: float = 0.6, fill: str | None = None
    ) -> "Masking":
        """Return the options for a network; `fill` is by default a token for Swins, else zero."""
        return cls(
            patch=patch if patch is not None else _PATCHES.get(network, _PATCH),
            ratio=ratio,
            fill=fill if fill is not None else ("token" if network.startswith("swin") else "zero"),
        )

    def check(self, image_size: int) -> None:
        """Raise a ConfigError if images of this size cannot be masked like this."""
        check_masking(image_size, patch=self.patch, ratio=self.ratio, fill=self.fill)


@dataclass(frozen=True)
class Task:
    """A compiled model and its training data."""

    model: keras.Model  # shares the layers of the network
    batches: tf.data.Dataset  # of all epochs, one epoch after the other
    steps: int  # batches an epoch
    facts: dict[str, Any]  # description of the task, as values that JSON can hold
    finish: Callable[[], None] = lambda: None  # to be called after the model was fitted


def phantom_task(network: keras.Model, config: Config, transform: Transform, *, count: int) -> Task:
    """Return the task of classifying phantoms, each of which is simulated once.

    A network with a layer `feature_map` or `lesion_logits` also learns where the lump is, if
    `training.mask_weight` is above 0. `count` is the number of phantoms an epoch, at least 2.
    """
    names = {layer.name for layer in network.layers}
    where = config.training.mask_weight > 0 and bool({LESION_LOGITS, "feature_map"} & names)
    if not where:
        config = config.replace({"training": {"mask_weight": 0.0}})
    settings, execution = config.training, execution_of(config)
    parts = execution.accumulation_steps
    batch = math.ceil(min(settings.batch_size, count) / parts)
    steps = max(1, count // (batch * parts))  # updates an epoch, each from a whole batch
    each = steps * batch * parts
    model = add_lesion_head(network) if where else network
    labels = phantom_labels(config.seed, each, target=settings.target)
    compile_model(model, config, labels=labels, steps_per_epoch=steps, execution=execution)
    augmenter = _augmenter(config)
    batches = phantom_dataset(
        seed=config.seed,
        count=each * settings.epochs,
        crop_and_resize=transform.crop_and_resize,
        crop_and_resize_mask=transform.crop_and_resize_mask,
        size=transform.image_size,
        augment=augmenter,
        augment_masks=augmenter.augment_masks if augmenter else None,
        image_seed=functools.partial(image_seed, config.seed),
        normalize=transform.normalize,
        grid=lesion_grid(model) if where else None,
        target=settings.target,
        batch_size=batch,
        parallel_calls=usable_cores(),
    )
    facts = {
        "kind": "lump or not, and where" if where else "lump or not",
        "half_sizes_mm": list(STREAM_HALF_SIZES),
        "phantoms_per_epoch": each,
    }
    return Task(model, batches, steps * parts, facts)


def masked_task(
    network: keras.Model,
    config: Config,
    transform: Transform,
    table: pd.DataFrame,
    *,
    masking: Masking,
) -> Task:
    """Return the task of reconstructing hidden patches of the images in `table` (column `path`)."""
    settings, execution = config.training, execution_of(config)
    model = masked_model(network, patch=masking.patch, fill=masking.fill)
    order, draws = epoch_order([0] * len(table), strategy="all", seed=config.seed)
    steps = steps_per_epoch(draws, settings.batch_size)
    optimizer = make_optimizer(
        model, settings, steps_per_epoch=steps, accumulation_steps=execution.accumulation_steps
    )
    model.compile(
        optimizer=optimizer,
        loss=MaskedL1(),
        jit_compile=execution.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    images = ImageCache(
        table["path"].tolist(),
        crop_and_resize=transform.crop_and_resize,
        size=transform.image_size,
        cache_mb=settings.cache_mb,
    )
    stream = functools.partial(
        training_dataset,
        images,
        [0] * len(table),  # labels are not read
        classes=len(LABELS),
        order=order,
        image_seed=functools.partial(image_seed, config.seed),
        normalize=transform.normalize,
        first_epoch=0,
        parallel_calls=usable_cores(),
    )
    hiding = functools.partial(
        hide,
        patch=masking.patch,
        ratio=masking.ratio,
        area=area_of(model, transform.image_size),
    )
    batches = stream(
        augment=_augmenter(config),
        mix=hiding,
        batch_size=settings.batch_size,
        accumulation_steps=execution.accumulation_steps,
        epochs=settings.epochs,
    )
    part = math.ceil(settings.batch_size / execution.accumulation_steps)
    whole = stream(augment=None, batch_size=part, epochs=1).map(lambda images, _: images)
    return Task(
        model,
        batches,
        steps * execution.accumulation_steps,
        {"kind": "masked images", **asdict(masking)},
        functools.partial(recompute_batchnorm, network, whole),
    )


def recompute_batchnorm(model: keras.Model, batches: Iterable[tf.Tensor]) -> None:
    """Set the moving statistics of batch norms to their mean over some batches.

    Pretraining on images with hidden patches leaves their statistics in the network, and whole
    images have others.

    Args:
        model: any network; one without batch norms is not changed.
        batches: model input, float32 [B, S, S, 3], each with the same weight.
    """
    norms = [x for x in nested_layers(model) if isinstance(x, keras.layers.BatchNormalization)]
    if not norms:
        return
    momentums = [layer.momentum for layer in norms]
    try:
        for number, images in enumerate(batches):
            for layer in norms:
                layer.momentum = number / (number + 1)  # the mean of all batches so far
            # Not as a graph, which would keep the momentum it was traced with.
            model(images, training=True)
    finally:
        for layer, momentum in zip(norms, momentums, strict=True):
            layer.momentum = momentum


def _augmenter(config: Config):
    settings = config.augmentation
    return build_augmenter(settings.policy, erasing=settings.erasing)
