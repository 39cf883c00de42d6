"""Predict functions: images in, probabilities of lump out, checked."""

from collections.abc import Callable, Sequence

import numpy as np

from breastus.errors import DataError
from breastus.evaluation.validation import check_probabilities

PredictFn = Callable[[Sequence[np.ndarray]], np.ndarray]


def predict_probabilities(
    predict: PredictFn, images: Sequence[np.ndarray], *, of: str = "images"
) -> np.ndarray:
    """Return the probability of lump of each image, float [n]; `of` names the images in errors."""
    result = np.asarray(predict(images), float)
    if result.shape != (len(images),):
        raise DataError(
            f"predict must return one probability for each of {len(images)} {of}. "
            f"Received: shape {result.shape}"
        )
    return check_probabilities(result, f"The result of predict for {of}")
