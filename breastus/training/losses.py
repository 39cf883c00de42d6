"""Losses by name: cross-entropy, its variants for a rare class, and losses of one's own.

    loss of class k  =  weight[k] * (1 - p[k])^gamma * cross-entropy(smoothed k, p)
    loss             =  mean over the batch of  sum over k of  target[k] * loss of class k

A target that mixup has mixed therefore costs what its classes cost, by their shares.

References:
    Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection. ICCV 2017 (gamma).
    Szegedy et al.: Rethinking the Inception Architecture. CVPR 2016 (label smoothing).
"""

import inspect
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from breastus.config.schema import TrainingConfig
from breastus.labels import TARGETS
from breastus.utils.plugins import Registry

_TINY = 1e-7  # smallest probability before the logarithm, as in Keras
_LOSSES = Registry("loss", setting="training.loss")


def register_loss(name: str) -> Callable[[Callable], Callable]:
    """Register a builder of a loss, for `training.loss`.

    The builder returns a `keras.losses.Loss` of targets [B, classes] and probabilities
    [B, classes]. Its keywords may be `class_weights` (list of numbers or None), `focal_gamma`
    and `label_smoothing`.

    Raises:
        ConfigError: if the name is taken.

    Examples:
        >>> @register_loss("poly")
        ... def poly(*, label_smoothing):
        ...     return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    """
    return _LOSSES.register(name)


def check_loss(name: str) -> None:
    """Raise a ConfigError if no loss has this name."""
    _LOSSES.get(name)


def make_loss(settings: TrainingConfig, labels: Sequence[int]) -> keras.losses.Loss:
    """Return the loss that the settings name; balanced class weights follow from the class ids."""
    weights = None
    if settings.class_weights == "balanced":
        weights = balanced_class_weights(labels, len(TARGETS[settings.target]))
    options = {
        "class_weights": weights,
        "focal_gamma": settings.focal_gamma,
        "label_smoothing": settings.label_smoothing,
    }
    builder = _LOSSES.get(settings.loss)
    taken = inspect.signature(builder).parameters
    return builder(**{name: options[name] for name in options if name in taken})


@register_loss("cross_entropy")
def cross_entropy(
    *,
    class_weights: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> keras.losses.Loss:
    """Return Keras's own cross-entropy if no option is set, else `ClassificationLoss`."""
    if class_weights is None and not focal_gamma and not label_smoothing:
        return keras.losses.CategoricalCrossentropy()
    return ClassificationLoss(class_weights, focal_gamma, label_smoothing)


@keras.saving.register_keras_serializable("breastus")
class ClassificationLoss(keras.losses.Loss):
    """Cross-entropy of softmax probabilities with class weights, focus and smoothing.

    Args:
        class_weights: weight of each class; None weights all classes equally.
        focal_gamma: focusing parameter, at least 0; 0 is cross-entropy. Larger values reduce the
            weight of images that are classified well already.
        label_smoothing: share of the target that is spread over all classes, 0 to below 1.

    Call arguments:
        y_true: [B, classes], shares of the classes that sum to 1; one-hot if nothing is mixed.
        y_pred: [B, classes], probabilities.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        focal_gamma: float = 0.0,
        label_smoothing: float = 0.0,
        name: str = "classification_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        classes = y_pred.shape[-1]
        probability = ops.clip(y_pred, _TINY, 1.0 - _TINY)
        cross_entropy = -ops.log(probability)
        spread = ops.sum(cross_entropy, axis=-1, keepdims=True) / classes
        loss = (1.0 - self.label_smoothing) * cross_entropy + self.label_smoothing * spread
        if self.focal_gamma:
            loss = loss * ops.power(1.0 - probability, self.focal_gamma)
        if self.class_weights is not None:
            loss = loss * ops.convert_to_tensor(self.class_weights, dtype=loss.dtype)
        return ops.sum(ops.cast(y_true, loss.dtype) * loss, axis=-1)

    def get_config(self):
        own = {
            "class_weights": self.class_weights,
            "focal_gamma": self.focal_gamma,
            "label_smoothing": self.label_smoothing,
        }
        return {**super().get_config(), **own}


def balanced_class_weights(labels: Sequence[int], num_classes: int) -> list[float]:
    """Return weights that give every class the same total, with a mean weight of 1 per image.

    Each class must be among the class ids.
    """
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * counts)).tolist()
