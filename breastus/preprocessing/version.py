"""The version of the image transform, to which every trained network is tied.

It is read without TensorFlow. A change by which a network would see other pixels raises it.
"""

from pathlib import Path

from breastus.errors import BreastusError

# 2: a resize of whole-number weights, the same in every runtime. Version 1 was not recorded.
TRANSFORM_VERSION = 2


def check_transform(path: Path, found: object, error: type[BreastusError]) -> None:
    """Refuse a network that was trained with another version of the transform.

    Args:
        path: the run or bundle.
        found: the version that it records; None if it records none.
        error: class of the error.
    """
    if found == TRANSFORM_VERSION:
        return
    newer = isinstance(found, int) and found > TRANSFORM_VERSION
    raise error(
        f"{path} was made with another version of the image transform, so its network would see "
        f"other pixels than in training: it must be {TRANSFORM_VERSION}. "
        f"{'Update breastus' if newer else 'Train the network again'}, or use the version of "
        f"breastus that wrote it. Received: transform={found!r}"
    )
