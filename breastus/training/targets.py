"""The classes that a network learns: images and `training.target` in, class ids out.

    label     no_lump, lump
    finding   normal, benign, malignant; the probability of lump is the sum of benign and malignant

An image without a lump is normal, even if its finding is unknown. A lump whose finding is unknown
has no class among the findings. It is refused in training and validation, where the loss needs its
class, and is tested like any other, because metrics need its label alone.
"""

import pandas as pd

from breastus.errors import DataError
from breastus.labels import KNOWN_FINDINGS, LABELS, LUMP, TARGETS

_WAY_OUT = "Train with --set training.target=label"


def class_ids(table: pd.DataFrame, target: str) -> list[int]:
    """Return the class id of each image, its place in `TARGETS[target]`.

    `table` has the columns `label` and `finding`. A DataError is raised for a lump whose finding is
    unknown if the findings are the target.
    """
    names = table["label"]
    if target == "finding":
        if unknown := int(_unknown(table).sum()):
            raise DataError(
                f"training.target=finding needs the finding of every lump in train and val, and "
                f"{unknown} of {len(table)} images are lumps of unknown finding, such as "
                f"{table.loc[_unknown(table), 'image_id'].iloc[0]}. {_WAY_OUT}, or exclude them."
            )
        names = table["finding"].where(table["label"] == LABELS[LUMP], KNOWN_FINDINGS[0])
    classes = TARGETS[target]
    return [classes.index(name) for name in names]


def check_target(images: pd.DataFrame, target: str) -> None:
    """Raise a DataError, before any training, if images cannot be trained with a target.

    `images` has the columns `image_id`, `split`, `label` and `finding`. Each finding must be among
    the training images, since a network never predicts one that it has not seen.
    """
    if target == "label":  # split schemes check that both labels are there
        return
    class_ids(images[images["split"] != "test"], target)
    found = set(class_ids(images[images["split"] == "train"], target))
    if missing := [name for i, name in enumerate(KNOWN_FINDINGS) if i not in found]:
        raise DataError(
            "training.target=finding needs training images of every finding. Received: no image "
            f"of {', '.join(missing)}. {_WAY_OUT}, or add images."
        )


def _unknown(table: pd.DataFrame) -> pd.Series:
    return (table["label"] == LABELS[LUMP]) & ~table["finding"].isin(KNOWN_FINDINGS[1:])
