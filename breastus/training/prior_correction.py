"""Prior correction: the shift of the log odds of lump that class weights and sampling cause.

A network that minimises cross-entropy learns the odds of the images as they are weighted and drawn.
Balanced class weights or balanced sampling therefore shift its log odds by a known amount, which is
subtracted again. Temperature scaling cannot do that, because it keeps a probability of 0.5.

Reference:
    Elkan: The Foundations of Cost-Sensitive Learning. IJCAI 2001 (theorem 2).
"""

from collections.abc import Sequence

import numpy as np

from breastus.config.schema import TrainingConfig
from breastus.labels import LABELS, LUMP
from breastus.runs.run import Run


def prior_correction(settings: TrainingConfig, labels: Sequence[int]) -> float:
    """Return the shift that a training adds to the log odds of lump.

    Focal loss, label smoothing and mixup change the odds too, by an amount that is not known.

    It is 0 without class weights and sampling, or if a class is missing among the class ids.
    """
    labels = np.asarray(labels)
    lumps, others = int((labels == LUMP).sum()), int((labels != LUMP).sum())
    if not lumps or not others:
        return 0.0
    # Class weights follow from the images, not from the draws, so both together shift twice.
    times = (settings.class_weights == "balanced") + (settings.sampling != "all")
    return float(times * np.log(others / lumps))


def prior_correction_of(run: Run) -> float:
    """Return the shift of a run, from its settings and training images."""
    settings = run.config.training
    if settings.class_weights == "none" and settings.sampling == "all":
        return 0.0
    rows = run.read_images()
    labels = rows.loc[rows["split"] == "train", "label"]
    return prior_correction(settings, [LABELS.index(label) for label in labels])
