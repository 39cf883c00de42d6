"""Ask a predict function, and see that its answer is one: images in, probabilities of lump out."""

from collections.abc import Callable, Sequence

import numpy as np

from breastus.errors import DataError

PredictFn = Callable[[Sequence[np.ndarray]], np.ndarray]


def predict_probabilities(
    predict: PredictFn, images: Sequence[np.ndarray], *, of: str = "images"
) -> np.ndarray:
    """Return the probability of lump of each image, float [n], 0 to 1.

    Args:
        predict: images to their probabilities of lump, [n].
        images: what it takes.
        of: what the images are, for the errors.

    Raises:
        DataError: when the answer is not one number from 0 to 1 for each image.
    """
    answer = np.asarray(predict(images), float)
    if answer.shape != (len(images),):
        raise DataError(
            f"predict must return one probability for each of {len(images)} {of}. "
            f"Received: shape {answer.shape}"
        )
    fine = (answer >= 0) & (answer <= 1)  # false for NaN as well
    if not fine.all():
        number = int(np.flatnonzero(~fine)[0])
        raise DataError(
            f"predict must return probabilities from 0 to 1; number {number} of the {of} has none. "
            f"Received: {answer[number]}"
        )
    return answer
