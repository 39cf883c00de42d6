"""The loss: cross-entropy, and the remedies for a rare class that change it.

    loss of class k  =  weight[k] * (1 - p[k])^gamma * cross-entropy(smoothed k, p)
    loss             =  mean over the batch of  sum over k of  target[k] * loss of class k

A target that mixup has mixed therefore costs what its parts cost, by their shares.

References:
    Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection. ICCV 2017 (gamma).
    Szegedy et al.: Rethinking the Inception Architecture. CVPR 2016 (label smoothing).
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

_TINY = 1e-7  # probabilities are kept off zero before their logarithm is taken, as Keras does


@keras.saving.register_keras_serializable("breastus")
class ClassificationLoss(keras.losses.Loss):
    """Cross-entropy of softmax probabilities with class weights, focus and smoothing.

    Args:
        class_weights: one number a class, by which its images count; None counts all alike.
        focal_gamma: 0 is plain cross-entropy; larger numbers let images that are right already
            count less.
        label_smoothing: share of the target that is spread over all classes, 0 to below 1.

    Call arguments:
        y_true: [B, classes], shares of the classes that sum to 1; one-hot where nothing is mixed.
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
        surprise = -ops.log(probability)
        spread = ops.sum(surprise, axis=-1, keepdims=True) / classes
        loss = (1.0 - self.label_smoothing) * surprise + self.label_smoothing * spread
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


def make_loss(
    class_weights: Sequence[float] | None, *, focal_gamma: float, label_smoothing: float
) -> keras.losses.Loss:
    """Return Keras' own cross-entropy where nothing is asked for, else `ClassificationLoss`."""
    if class_weights is None and not focal_gamma and not label_smoothing:
        return keras.losses.CategoricalCrossentropy()
    return ClassificationLoss(class_weights, focal_gamma, label_smoothing)


def balanced_class_weights(labels: Sequence[int], num_classes: int) -> list[float]:
    """Return weights under which every class counts alike and the mean weight of an image is 1.

    Args:
        labels: class ids of the training images; each class at least once.
        num_classes: how many classes there are.
    """
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * counts)).tolist()
