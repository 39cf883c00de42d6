"""Shortcut test for burned-in marks: a network and test images in, content of shortcuts.json out.

A network that was trained without marks, or with nothing but marks, is tested too, because its
transform is part of it.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from breastus.config.schema import Config
from breastus.data.annotations.drawing import MIN_SIDE, draw_annotations
from breastus.data.annotations.flags import CALIPER, TEXT, annotation_flags
from breastus.data.images import read_image
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.robustness.shortcuts import MOST, flip_rate
from breastus.labels import LABELS, LUMP, NO_LUMP
from breastus.preprocessing.annotations import remove_annotations
from breastus.training.predict_fn import make_predict_fn

_PIXELS = tf.TensorSpec([None, None, 3], tf.uint8)


def shortcut_test(
    network: keras.Model, test: pd.DataFrame, *, config: Config, decision: Decision
) -> dict[str, Any]:
    """Draw marks on images without a lump, remove marks from images of lumps, and count the flips.

    `test` are manifest rows of the test images. The seed of the settings decides what is drawn, and
    which `MOST` images are used if there are more.
    """
    removed = tf.function(remove_annotations, input_signature=[_PIXELS])
    settings = {
        "predict": make_predict_fn(network, config=config, calibrator=decision.calibrator),
        "threshold": decision.threshold,
        "confidence": config.evaluation.confidence,
    }
    rows = test.sample(frac=1.0, random_state=config.seed)
    bare = _first(rows[rows["label"] == LABELS[NO_LUMP]], _has_room)
    marked = _first(rows[rows["label"] == LABELS[LUMP]], _is_marked)
    return {
        "max_images": MOST,
        "confidence": config.evaluation.confidence,
        "marks_added": flip_rate(
            *bare,
            change=lambda image, number: draw_annotations(image, config.seed + number),
            to_lump=True,
            **settings,
        ),
        "marks_removed": flip_rate(
            *marked,
            change=lambda image, _: removed(image).numpy(),
            to_lump=False,
            **settings,
        ),
    }


def _first(rows: pd.DataFrame, fits: Callable) -> tuple[list[np.ndarray], list[str]]:
    """Return the pixels and groups of the first `MOST` images that fit."""
    images, groups = [], []
    for path, group in zip(rows["path"], rows["group_id"], strict=True):
        if len(images) == MOST:
            break
        if fits(image := read_image(path)):
            images.append(image)
            groups.append(group)
    return images, groups


def _has_room(image: np.ndarray) -> bool:
    return min(image.shape[:2]) >= MIN_SIDE


def _is_marked(image: np.ndarray) -> bool:
    return bool({CALIPER, TEXT} & set(annotation_flags(image)))
