"""From settings to an optimizer: its kind, its learning rate over time, decay, clipping.

Schedules are functions of the optimizer's step, which the training state holds, so a run that is
taken up again goes on where it was.
"""

import math

import keras
from keras import ops

from breastus.config import TrainingConfig

# One cycle: start and end as shares of the peak, and the share of the steps that rise; the values
# of fastai and of PyTorch's OneCycleLR (Smith and Topin, arXiv 1708.07120).
_ONE_CYCLE_START, _ONE_CYCLE_END, _ONE_CYCLE_RISE = 1 / 25, 1e-5, 0.3


@keras.saving.register_keras_serializable("breastus")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises along a half cosine or a line, and falls or stays.

    Args:
        kind: "constant" or "cosine" after a linear warm-up, or "one_cycle".
        peak: the largest learning rate.
        steps: steps of the whole training.
        warmup_steps: steps of the warm-up; one cycle has its own, 30 % of the steps.
    """

    def __init__(self, kind: str, peak: float, steps: int, warmup_steps: int = 0):
        self.kind, self.peak, self.steps, self.warmup_steps = kind, peak, steps, warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
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
        return {
            "kind": self.kind,
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
        }


def make_optimizer(settings: TrainingConfig, *, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return the optimizer that the settings name.

    Args:
        settings: of the training.
        steps_per_epoch: batches an epoch, by which the schedule counts.
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    rate = settings.learning_rate
    if settings.schedule != "constant" or warmup:
        rate = Schedule(settings.schedule, rate, settings.epochs * steps_per_epoch, warmup)
    common = {
        "learning_rate": rate,
        "global_clipnorm": settings.clip_norm,
        "gradient_accumulation_steps": (
            settings.accumulation if settings.accumulation > 1 else None
        ),
    }
    if settings.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=settings.weight_decay, **common)
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(**common)
    return keras.optimizers.SGD(momentum=settings.momentum, nesterov=True, **common)


def exclude_from_decay(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    """Keep weight decay off norms and biases; to be called before the optimizer is built.

    Those are the vectors: decaying them towards zero regularises nothing and moves the norms.
    """
    optimizer.exclude_from_weight_decay(
        var_list=[variable for variable in model.trainable_variables if len(variable.shape) < 2]
    )


def _half_cosine(start: float, end: float, share):
    share = ops.clip(share, 0.0, 1.0)
    return end + (start - end) * 0.5 * (1.0 + ops.cos(math.pi * share))
