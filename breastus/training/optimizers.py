"""Settings in, an optimizer with learning rate schedule, layer-wise rates, decay and clipping out.

Schedules are functions of the number of weight updates since the training began. The optimizer
counts them in the training state, so a resumed run continues its schedule.
"""

import math
import re
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from breastus.config.schema import TrainingConfig
from breastus.models.backbone import nested_layers

# One cycle: start and end as shares of the peak, and share of rising steps, as in fastai and
# PyTorch's OneCycleLR (Smith and Topin, arXiv 1708.07120).
_ONE_CYCLE_START, _ONE_CYCLE_END, _ONE_CYCLE_RISE = 1 / 25, 1e-5, 0.3
# Matrices without weight decay: tables of biases by relative position, position embeddings.
_UNDECAYED = re.compile("bias|position")


@keras.saving.register_keras_serializable("breastus")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate with warm-up that is constant, falls along a cosine, or does one cycle.

    Args:
        kind: "constant" or "cosine", both after a linear warm-up, or "one_cycle".
        peak: peak learning rate.
        steps: number of weight updates of the whole training.
        warmup_steps: number of updates of the warm-up. One cycle has its own, 30 % of all updates.
        accumulation_steps: number of parts a batch is split into. Keras counts the parts, not the
            updates.
        first_step: number of updates of earlier optimizers of the training.
    """

    def __init__(
        self,
        kind: str,
        peak: float,
        steps: int,
        warmup_steps: int = 0,
        accumulation_steps: int = 1,
        first_step: int = 0,
    ):
        self.kind, self.peak, self.steps, self.warmup_steps = kind, peak, steps, warmup_steps
        self.accumulation_steps, self.first_step = accumulation_steps, first_step

    def __call__(self, step):
        step = ops.cast(
            ops.cast(step, "int64") // self.accumulation_steps + self.first_step, "float32"
        )
        if self.kind == "one_cycle":
            rise = max(1.0, _ONE_CYCLE_RISE * self.steps)
            up = _half_cosine(_ONE_CYCLE_START, 1.0, step / rise)
            down = _half_cosine(1.0, _ONE_CYCLE_END, (step - rise) / max(1.0, self.steps - rise))
            return self.peak * ops.where(step < rise, up, down)
        # The first step already learns: a warm-up of n steps starts at 1/n.
        warm = ops.minimum(1.0, (step + 1.0) / max(1, self.warmup_steps))
        if self.kind == "constant":
            return self.peak * warm
        after = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.peak * warm * _half_cosine(1.0, 0.0, after)

    def get_config(self):
        return dict(vars(self))


class _LayerRates:
    """Mixin with a factor on the learning rate of each variable, for its update and its decay.

    It also clips gradients on several devices as on one. It overrides private methods of Keras,
    because no public one knows the gradients before clipping, or the variable of a decay.

    Args:
        factors: factor of each trainable variable, in their order; None for 1.
    """

    def __init__(self, *args, factors: Sequence[float] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.factors = [float(factor) for factor in factors] if factors is not None else None

    def _clip_gradients(self, gradients):
        replicas = tf.distribute.get_replica_context()
        count = replicas.num_replicas_in_sync if replicas else 1
        if count == 1 or not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return super()._clip_gradients(gradients)
        # Keras clips the gradients of each device. Here their sum is clipped, as on one device, and
        # divided, because Keras sums the results.
        gradients = replicas.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        return [gradient / count for gradient in super()._clip_gradients(gradients)]

    def _apply_weight_decay(self, variables):
        if self.factors is None:
            super()._apply_weight_decay(variables)
        # Else in `update_step`, which knows the rate of the variable. The order changes no number.

    def update_step(self, gradient, variable, learning_rate):
        if self.factors is not None:
            learning_rate = learning_rate * self.factors[self._get_variable_index(variable)]
            if self.weight_decay is not None and self._use_weight_decay(variable):
                decay = ops.cast(learning_rate * self.weight_decay, variable.dtype)
                self.assign_sub(variable, variable * decay)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "factors": self.factors}


class _OneKernel:
    """Mixin with Adam's update as one TensorFlow kernel instead of a dozen element-wise operations.

    The formula is Keras's (Kingma and Ba, ICLR 2015, end of section 2). On two cores an update of
    the study's CNN takes 3.5 instead of 5.8 ms, and one of `compact` 7 instead of 12 ms. The last
    bits differ from Keras's.
    """

    def update_step(self, gradient, variable, learning_rate):
        step = ops.cast(self.iterations + 1, variable.dtype)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=ops.power(ops.cast(self.beta_1, variable.dtype), step),
            beta2_power=ops.power(ops.cast(self.beta_2, variable.dtype), step),
            lr=ops.cast(learning_rate, variable.dtype),
            beta1=ops.cast(self.beta_1, variable.dtype),
            beta2=ops.cast(self.beta_2, variable.dtype),
            epsilon=ops.cast(self.epsilon, variable.dtype),
            grad=ops.cast(gradient, variable.dtype),
        )


@keras.saving.register_keras_serializable("breastus")
class AdamW(_LayerRates, _OneKernel, keras.optimizers.AdamW):
    """Keras' AdamW with factors on the learning rate by variable."""


@keras.saving.register_keras_serializable("breastus")
class Adam(_LayerRates, _OneKernel, keras.optimizers.Adam):
    """Keras' Adam with factors on the learning rate by variable."""


@keras.saving.register_keras_serializable("breastus")
class SGD(_LayerRates, keras.optimizers.SGD):
    """Keras' SGD with factors on the learning rate by variable."""


def make_optimizer(
    model: keras.Model,
    settings: TrainingConfig,
    *,
    steps_per_epoch: int,
    accumulation_steps: int = 1,
    first_epoch: int = 0,
    factors: Sequence[float] | None = None,
) -> keras.optimizers.Optimizer:
    """Return the optimizer that the settings name for a model.

    Gradients are averaged over the parts of a batch and then clipped. If a layer computes in
    float16, the optimizer has dynamic loss scaling: it skips a step (or the part of an accumulated
    batch) whose gradients overflow.

    Args:
        model: the model, whose norms and biases may be excluded from weight decay.
        settings: settings of the training.
        steps_per_epoch: number of weight updates an epoch, for the schedule.
        accumulation_steps: number of parts a batch is split into; the weights are updated after the
            last one.
        first_epoch: first of the epochs that this optimizer is for; the schedule spans all epochs.
        factors: factor on the learning rate of each trainable variable.
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    rate = settings.learning_rate
    if settings.schedule != "constant" or warmup:
        rate = Schedule(
            settings.schedule,
            rate,
            settings.epochs * steps_per_epoch,
            warmup,
            accumulation_steps=accumulation_steps,
            first_step=first_epoch * steps_per_epoch,
        )
    common = {
        "learning_rate": rate,
        "global_clipnorm": settings.clip_norm,
        "gradient_accumulation_steps": accumulation_steps if accumulation_steps > 1 else None,
        "factors": factors,
    }
    if settings.optimizer == "adamw":
        optimizer = AdamW(weight_decay=settings.weight_decay, **common)
    elif settings.optimizer == "adam":
        optimizer = Adam(**common)
    else:
        optimizer = SGD(momentum=settings.momentum, nesterov=True, **common)
    if not settings.decay_all:
        # Decaying norms and biases regularises nothing and shifts the norms.
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if len(variable.shape) < 2 or _UNDECAYED.search(variable.name)
            ]
        )
    # Keras adds loss scaling by the dtype policy of the model itself, which a model that was made
    # of the layers of another one, such as a head on cached features, does not share.
    if any(layer.compute_dtype == "float16" for layer in nested_layers(model)):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")
    return optimizer


def accumulated_gradients(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the sums of gradients over the parts of a batch; none without accumulation."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(inner._accumulated_gradients) if inner.gradient_accumulation_steps else []


def counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Return the variable that counts the parts of batches that an optimizer has seen."""
    return getattr(optimizer, "inner_optimizer", optimizer)._iterations


def _handle(variable) -> tf.Tensor:
    # Keras passes its own variables or, under a distribution strategy, TensorFlow's.
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


def _half_cosine(start: float, end: float, share):
    share = ops.clip(share, 0.0, 1.0)
    return end + (start - end) * 0.5 * (1.0 + ops.cos(math.pi * share))
