"""Settings in, a network with optimizer, loss and metrics out.

model = new_model(config, precision="float32")
compile_model(model, config, labels=labels, steps_per_epoch=steps)
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from breastus.config.schema import Config
from breastus.labels import TARGETS
from breastus.models.registry import build_model
from breastus.training.lesion_head import LESION_LOGITS, PROBABILITIES, LesionMaskLoss
from breastus.training.losses import make_loss
from breastus.training.optimizers import make_optimizer
from breastus.training.stages import rate_factors


class Execution(NamedTuple):
    """How a training runs on a machine; the results differ by rounding only."""

    # "float32", "mixed_bfloat16" or "mixed_float16"; variables are float32 in each.
    precision: str = "float32"
    accumulation_steps: int = 1  # parts a batch is split into; batch norms see the parts
    # Whether XLA compiles the training step; on a CPU it slows the study's network down.
    jit_compile: bool = False

    def settings(self) -> dict[str, int | str]:
        """Return the settings of `training` that change if an execution fails."""
        xla = "on" if self.jit_compile else "off"
        return {"accumulation_steps": self.accumulation_steps, "xla": xla}


def execution_of(config: Config) -> Execution:
    """Return the execution that the settings name; `auto` and null take the simplest one."""
    settings = config.training
    return Execution(
        precision="float32" if settings.precision == "auto" else settings.precision,
        accumulation_steps=settings.accumulation_steps or 1,
        jit_compile=settings.xla == "on",
    )


def new_model(config: Config, *, precision: str = "float32") -> keras.Model:
    """Build the network that the settings name; Keras's global seed decides random weights."""
    settings = config.model
    options = {"dropout": settings.dropout} if settings.dropout is not None else {}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build_model(
            settings.name,
            num_classes=len(TARGETS[config.training.target]),
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
    metrics: Sequence[keras.metrics.Metric | Callable | str] = (),
) -> None:
    """Compile the model with optimizer, loss and metrics; the defaults are the study's.

    Args:
        model: the network; frozen layers get no optimizer state.
        config: settings of the experiment.
        labels: class ids of the training images, from which class weights follow.
        steps_per_epoch: number of weight updates an epoch, for learning rate schedules.
        execution: execution of the training; None takes it from the settings.
        first_epoch: first of the epochs that this optimizer is for.
        metrics: further metrics of the probabilities.
    """
    settings = config.training
    execution = execution or execution_of(config)
    optimizer = make_optimizer(
        model,
        settings,
        steps_per_epoch=steps_per_epoch,
        accumulation_steps=execution.accumulation_steps,
        first_epoch=first_epoch,
        factors=rate_factors(model, settings.layer_decay),
    )
    loss = make_loss(settings, labels)
    # Copies have their variables on the devices that train, and no counts of an earlier stage.
    metrics = [
        type(metric).from_config(metric.get_config())
        if isinstance(metric, keras.metrics.Metric)
        else metric
        for metric in metrics
    ]
    metrics = [keras.metrics.CategoricalAccuracy(name="accuracy"), *metrics]
    options = {}
    if settings.mask_weight:
        loss = {PROBABILITIES: loss, LESION_LOGITS: LesionMaskLoss()}
        options["loss_weights"] = {PROBABILITIES: 1.0, LESION_LOGITS: settings.mask_weight}
        metrics = {PROBABILITIES: metrics}
    model.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=metrics,
        jit_compile=execution.jit_compile,
        **options,
    )
    model.optimizer.build(model.trainable_variables)
    if execution.jit_compile:
        # XLA compiles a function for each size of batch: validation does without.
        model.jit_compile = False
        model.make_test_function()
        model.jit_compile = True
