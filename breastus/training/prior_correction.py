"""Prior correction: the shift of the log odds that class weights and sampling cause.

A network that minimises cross-entropy learns the odds of the images as they are weighted and drawn.
Balanced class weights or balanced sampling therefore shift its log odds by a known amount, which is
subtracted again. Temperature scaling cannot do that, because it keeps a probability of 0.5.

With the labels as target, the log odds of lump are shifted when the decision is fitted. With the
findings, benign and malignant are shifted by different amounts, which cannot be separated once they
are summed. So the bias of the last layer is corrected, and their sum needs no further shift.

Reference:
    Elkan: The Foundations of Cost-Sensitive Learning. IJCAI 2001 (theorem 2).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from breastus.config.schema import TrainingConfig
from breastus.errors import ModelError
from breastus.labels import LABELS, LUMP, TARGETS
from breastus.runs.run import Run

if TYPE_CHECKING:  # it loads TensorFlow
    import keras


def prior_correction(settings: TrainingConfig, labels: Sequence[int]) -> float:
    """Return the shift that a training adds to the log odds of lump.

    Focal loss, label smoothing and mixup change the odds too, by an amount that is not known.

    It is 0 without class weights and sampling, or if a class is missing among the class ids.
    """
    labels = np.asarray(labels)
    lumps, others = int((labels == LUMP).sum()), int((labels != LUMP).sum())
    if not lumps or not others:
        return 0.0
    return float(_times(settings) * np.log(others / lumps))


def prior_correction_of(run: Run) -> float:
    """Return the shift of a run's predictions, from its settings and training images."""
    settings = run.config.training
    if settings.target == "finding" or not _times(settings):
        return 0.0
    rows = run.read_images()
    labels = rows.loc[rows["split"] == "train", "label"]
    return prior_correction(settings, [LABELS.index(label) for label in labels])


def check_correctable(model: "keras.Model", settings: TrainingConfig) -> None:
    """Raise a ModelError, before any training, if `correct_findings` cannot correct a network."""
    if settings.target == "finding" and _times(settings) and _last_bias(model) is None:
        raise ModelError(
            "training.class_weights and training.sampling need, with training.target=finding, a "
            "network whose last layer is a softmax layer named probabilities with a bias, which "
            f"corrects its priors; {model.name} has none. Use training.class_weights=none and "
            "training.sampling=all."
        )


def correct_findings(model: "keras.Model", settings: TrainingConfig, labels: Sequence[int]) -> bool:
    """Subtract from a trained network of findings what its training added to their log odds.

    Args:
        model: the network, whose last bias is changed.
        settings: settings of the training.
        labels: class ids of the training images; each finding is among them.

    Returns:
        Whether there was anything to subtract.
    """
    times = _times(settings)
    if settings.target != "finding" or not times:
        return False
    counts = np.bincount(labels, minlength=len(TARGETS["finding"]))
    bias = _last_bias(model)
    # Each class counts in proportion to counts ** -times.
    bias.assign(np.asarray(bias) + times * np.log(counts / counts.sum()))
    return True


def _times(settings: TrainingConfig) -> int:
    """Return how often a training gives all classes equal weights, as if they were equal in number.

    Class weights follow from the images, not from the draws, so both together shift twice.
    """
    return (settings.class_weights == "balanced") + (settings.sampling != "all")


def _last_bias(model: "keras.Model"):
    """Return the variable that is added to the logits of a network, or None."""
    last = model.layers[-1]
    softmax = getattr(getattr(last, "activation", None), "__name__", "") == "softmax"
    named = last.name == "probabilities" and softmax
    return last.bias if named and getattr(last, "use_bias", False) else None
