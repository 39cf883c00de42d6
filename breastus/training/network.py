"""The network of a training: settings in, a network with optimizer and loss out.

model = new_model(config, precision="float32")
compile_model(model, config, labels=labels, steps_per_epoch=steps)
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from breastus.config.schema import Config
from breastus.labels import LABELS
from breastus.models.registry import build_model
from breastus.training.lesion_head import LESION_LOGITS, PROBABILITIES, LesionMaskLoss
from breastus.training.losses import balanced_class_weights, make_loss
from breastus.training.optimizers import exclude_from_decay, make_optimizer
from breastus.training.stages import rate_factors


class Execution(NamedTuple):
    """How a training runs on a machine; what it computes is the same but for rounding.

    Args:
        precision: "float32", "mixed_bfloat16" or "mixed_float16".
        accumulation_steps: number of parts a batch is split into; batch norms see the parts.
        jit_compile: whether XLA compiles the step.
    """

    precision: str = "float32"
    accumulation_steps: int = 1
    jit_compile: bool = False  # on a CPU, XLA slows the study's network down


def execution_of(config: Config) -> Execution:
    """Return how the settings ask to run; what they leave open is the plainest."""
    settings = config.training
    return Execution(
        precision="float32" if settings.precision == "auto" else settings.precision,
        accumulation_steps=settings.accumulation_steps or 1,
        jit_compile=settings.xla == "on",
    )


def new_model(config: Config, *, precision: str = "float32") -> keras.Model:
    """Build the network that the settings name, with weights drawn by Keras' seed.

    Args:
        config: the experiment's settings.
        precision: "float32", "mixed_bfloat16" or "mixed_float16"; variables are float32 in each.

    Raises:
        ModelError: when there is no such network, or it cannot be loaded with these settings.
    """
    settings = config.model
    options = {} if settings.dropout is None else {"dropout": settings.dropout}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build_model(
            settings.name,
            num_classes=len(LABELS),
            image_size=settings.image_size,
            weights=settings.weights,
            **options,
        )
    finally:
        keras.config.set_dtype_policy(before)


def compile_model(
    model: keras.Model,
    config: Config,
    *,
    labels: Sequence[int],
    steps_per_epoch: int,
    execution: Execution | None = None,
    first_epoch: int = 0,
    metrics: Sequence[keras.metrics.Metric | str] = (),
) -> None:
    """Give the model its optimizer and loss; by default the study's, AdamW and cross-entropy.

    In mixed_float16, Keras wraps the optimizer into one that scales the loss as the gradients
    allow. A step whose gradients overflow is then left out; of a batch in parts, that part.

    Args:
        model: the network; what is frozen gets no optimizer state.
        config: the experiment's settings.
        labels: class ids of the training images, from which class weights follow.
        steps_per_epoch: weight updates an epoch, by which learning rate schedules count.
        execution: how the training runs; None asks the settings.
        first_epoch: of the epochs that this optimizer is for.
        metrics: further metrics of the probabilities, beside the accuracy.
    """
    settings = config.training
    execution = execution or execution_of(config)
    optimizer = make_optimizer(
        settings,
        steps_per_epoch=steps_per_epoch,
        accumulation_steps=execution.accumulation_steps,
        first_epoch=first_epoch,
        factors=rate_factors(model, settings.layer_decay),
    )
    if not settings.decay_all:
        exclude_from_decay(optimizer, model)
    weights = None
    if settings.class_weights == "balanced":
        weights = balanced_class_weights(labels, len(LABELS))
    loss = make_loss(
        weights, focal_gamma=settings.focal_gamma, label_smoothing=settings.label_smoothing
    )
    measured = [keras.metrics.CategoricalAccuracy(name="accuracy"), *metrics]
    several = {}
    if settings.mask_weight:
        loss = {PROBABILITIES: loss, LESION_LOGITS: LesionMaskLoss()}
        several["loss_weights"] = {PROBABILITIES: 1.0, LESION_LOGITS: settings.mask_weight}
        measured = {PROBABILITIES: measured}
    model.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=measured,
        jit_compile=execution.jit_compile,
        **several,
    )
    model.optimizer.build(model.trainable_variables)
