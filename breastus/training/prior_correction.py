"""What class weights and even sampling add to the log odds of lump: it is known, and is taken back.

A network that minimises cross-entropy says the odds of the images it is shown, as it is shown them.
Where both classes count alike, in the loss or by how often they are drawn, these are the odds that
the training images would have were there as many lumps as others. A temperature cannot undo that,
as it leaves a probability of a half where it is.

Reference:
    Elkan: The Foundations of Cost-Sensitive Learning. IJCAI 2001 (theorem 2).
"""

from collections.abc import Sequence

import numpy as np

from breastus.config.schema import TrainingConfig
from breastus.labels import LABELS, LUMP
from breastus.runs.run import Run


def prior_correction(settings: TrainingConfig, labels: Sequence[int]) -> float:
    """Return what a training adds to the log odds of lump that its images have.

    Focal loss, label smoothing and mixup bend odds besides, by what nobody knows beforehand.

    Args:
        settings: of the training.
        labels: class ids of the training images.
    """
    labels = np.asarray(labels)
    lumps, others = int((labels == LUMP).sum()), int((labels != LUMP).sum())
    if not lumps or not others:
        return 0.0
    # Weights follow from the images, not from how often they are drawn: with both it comes twice.
    times = (settings.class_weights == "balanced") + (settings.sampling != "all")
    return float(times * np.log(others / lumps))


def prior_correction_of(run: Run) -> float:
    """Return the shift of a run, from its settings and its training images."""
    settings = run.config.training
    if settings.class_weights == "none" and settings.sampling == "all":
        return 0.0
    rows = run.read_images()
    labels = rows.loc[rows["split"] == "train", "label"]
    return prior_correction(settings, [LABELS.index(label) for label in labels])
