"""Flags of a prediction: an image and facts about the model in, flags with their meaning out.

A flag of `UNSUITABLE` marks an image of a kind that the model does not know. A reader has to look,
whatever the model answers. The limits are our choice: no image of BUSI, of BUS-UCLM or of the
phantoms reaches one. They do not find everything: a grey photograph passes.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from breastus.data.annotations.flags import (
    COLOR_DOPPLER,
    COLOR_MODE,
    MEANINGS,
    NEARLY_BLACK,
    annotation_flags,
)
from breastus.data.dicom.files import FLAG_MEANINGS
from breastus.data.image_statistics import image_statistics, unusual
from breastus.data.masks import looks_like_mask

PHANTOM, SEEN = "trained_on_phantoms", "seen_in_training"
UNDECIDED = "undecided"  # key of the reason why the conformal sets refer an image; no flag
BLANK, TINY, NOT_B_MODE, MASK_LIKE = "blank", "tiny", "not_b_mode", "mask_like"
UNFAMILIAR = "unfamiliar"
# Flags with which an image is always referred. With the first ones the label means nothing.
UNSUITABLE = (COLOR_DOPPLER, COLOR_MODE, NEARLY_BLACK, BLANK, TINY, NOT_B_MODE, MASK_LIKE)
REFERRED = (*UNSUITABLE, UNFAMILIAR)
_CONTRAST = 8  # grey levels, least standard deviation of an image that shows anything
_BLACK = 0.95  # largest fraction of pixels darker than 10
_WHITE = 0.5  # largest fraction of pixels brighter than 245
_SIDE = 64  # pixels, shortest side in which a lesion can be seen


def prediction_flags(
    pixels: np.ndarray,
    *,
    phantom: bool,
    seen: bool,
    ranges: Mapping[str, tuple[float, float]],
    stated: Iterable[str] = (),
    unfamiliar: bool = False,
) -> dict[str, str]:
    """Return each flag of a prediction with its meaning.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        phantom: true if the model was trained on phantoms.
        seen: true if the file took part in the training.
        ranges: `input_statistics` of the bundle.
        stated: flags that the header of a DICOM file states.
        unfamiliar: true if the features of the image are farther from the training images than the
            bundle's `distance_limit`.
    """
    found = {}
    if phantom:
        found[PHANTOM] = "the model was trained on simulated images and never saw a patient"
    if seen:
        found[SEEN] = "this file took part in the model's training: its prediction proves nothing"
    found |= {flag: FLAG_MEANINGS[flag] for flag in stated}
    found |= {flag: MEANINGS[flag] for flag in annotation_flags(pixels)}
    statistics = image_statistics(pixels)
    found |= _unsuitable(statistics, ranges)
    if BLANK not in found and looks_like_mask(pixels):
        found[MASK_LIKE] = "the image has few grey levels, as a lesion mask or a drawing has"
    if unfamiliar:
        found[UNFAMILIAR] = (
            "what the network computes of the image is farther from the training images than for "
            "95 % of the validation images"
        )
    return found | unusual(statistics, ranges)


def _unsuitable(
    statistics: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, str]:
    """Return why the model cannot know an image; a side as short as in training is not tiny."""
    width, height = statistics["width"], statistics["height"]
    smallest = min(ranges["width"][0], ranges["height"][0])
    found = {}
    if statistics["contrast"] < _CONTRAST or statistics["black"] > _BLACK:
        found[BLANK] = "the image is blank or almost black, so it shows no tissue"
    if min(width, height) < min(_SIDE, smallest):
        found[TINY] = f"the image has {width:.0f} x {height:.0f} pixels, too few to show a lesion"
    if statistics["white"] > _WHITE:
        found[NOT_B_MODE] = "more than half of the image is white, which no B-mode image is"
    return found
