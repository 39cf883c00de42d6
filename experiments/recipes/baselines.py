"""Baselines without training a network: features and logistic regression

Each row is cross-validated on BUSI by scene, with the known faults left out (five folds, three
repeats; the folds of `breastus train --folds 5`), and fitted again on all of BUSI for the other
hospital, the sample of BUS-UCLM. Calibration and threshold come from the validation part of each
fold, and for the other hospital from the pooled out-of-fold scores. A network that does not beat
`frozen features` has learned little.

- `size and borders`: width, height, aspect ratio, share of black pixels, and the shares of rows and
  columns that are not cut off as borders.
- `grey levels`: a histogram of 32 bins, and the mean level at 16 depths.
- `frozen features`: EfficientNet-Lite0 with ImageNet weights at 384 pixels, aspect ratio kept; mean
  and maximum of the last feature map, averaged over the image and its mirror image.
- `frozen cells`: maps of strides 8, 16 and 32 of Lite0 cell by cell, with lesion masks as targets;
  the score of an image is the mean of its best cells.
- `frozen, both`: the mean of `frozen features` and `frozen cells`, in standard deviations.

    python -m experiments.recipes.baselines --data path/to/folder

The folder holds `busi` and `bus_uclm_sample`. Two cores without GPU: 14 minutes. Expected ROC-AUC
of `frozen, both` (95 % interval): 0.95 (0.91 to 0.97) inside, 0.85 (0.75 to 0.92) outside.
"""

import argparse
import functools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from breastus.config.schema import DataConfig, EvaluationConfig
from breastus.data.images import read_image
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import included
from breastus.data.splits.make import make_splits
from breastus.evaluation.calibration.logistic import sigmoid
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.intervals.recipe import recipe_metrics
from breastus.labels import LABELS, LUMP
from breastus.utils.quiet import import_tensorflow
from experiments.pages import (
    RESULTS,
    fact_list,
    run_script,
    score_row,
    score_table,
    title_and_text,
    write_section,
)

FOLDS, REPEATS, SIZE = 5, 3, 384
_BLACK = 10  # grey levels, as in the image transform
_TOP_CELLS = 8  # of 576 cells; the median lesion of BUSI covers twice as many


class Features:
    """Features of the images of a data set, computed when they are first used.

    Args:
        rows: included rows of a manifest.
    """

    def __init__(self, rows: pd.DataFrame):
        self.rows = rows
        self.lump = (rows["label"] == LABELS[LUMP]).to_numpy(int)

    @functools.cached_property
    def borders(self) -> np.ndarray:
        """Size and borders, [n, 6]."""
        return np.stack([_borders(read_image(path)) for path in self.rows["path"]])

    @functools.cached_property
    def levels(self) -> np.ndarray:
        """Histogram and mean level by depth, [n, 48]."""
        return np.stack([_levels(read_image(path)) for path in self.rows["path"]])

    @functools.cached_property
    def pooled(self) -> np.ndarray:
        """Mean and maximum of the last map of Lite0, [n, 2560]."""
        return _pooled(self.rows, "efficientnet_lite0")

    @functools.cached_property
    def cells(self) -> np.ndarray:
        """Cells of Lite0, float16 [n, 24, 24, C]."""
        maps = _maps(self.rows, "efficientnet_mil")
        return np.concatenate([pair.mean(axis=0).astype(np.float16) for pair in maps])

    @functools.cached_property
    def lesion_fraction(self) -> np.ndarray:
        """Lesion area as a fraction of each cell, [n, 24, 24]."""
        return _lesion_fraction(self.rows)


def _borders(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    bright = pixels.max(axis=-1) > _BLACK
    rows, columns = bright.mean(axis=1) > 0.01, bright.mean(axis=0) > 0.01
    return np.array(
        [height, width, width / height, 1 - bright.mean(), rows.mean(), columns.mean()], float
    )


def _levels(pixels: np.ndarray) -> np.ndarray:
    grey = pixels.max(axis=-1)
    histogram = np.bincount((grey >> 3).ravel(), minlength=32) / grey.size
    depths = [part.mean() / 255 for part in np.array_split(grey, 16)]
    return np.concatenate([histogram, depths])


def _maps(rows: pd.DataFrame, network: str) -> Iterator[np.ndarray]:
    """Yield the maps of 16 images and of their mirror images, mirrored back, [2, 16, h, w, C]."""
    import tensorflow as tf

    from breastus.models.backbone import split_backbone_head
    from breastus.models.registry import build_model
    from breastus.preprocessing.transform import Transform

    backbone, _ = split_backbone_head(build_model(network, image_size=SIZE, weights="imagenet"))
    transform = Transform(image_size=SIZE, aspect="keep")
    for start in range(0, len(rows), 16):
        scans = [read_image(path) for path in rows["path"][start : start + 16]]
        images = transform.normalize(tf.stack([transform.crop_and_resize(scan) for scan in scans]))
        mirrored = backbone(images[:, :, ::-1], training=False)[:, :, ::-1]
        yield np.stack([backbone(images, training=False), mirrored])


def _pooled(rows: pd.DataFrame, network: str) -> np.ndarray:
    """Return mean and maximum of a network's map, averaged over the mirror image, [n, 2 C]."""
    return np.concatenate(
        [
            np.concatenate([pair.mean((2, 3)), pair.max((2, 3))], axis=-1).mean(axis=0)
            for pair in _maps(rows, network)
        ]
    )


def _lesion_fraction(rows: pd.DataFrame) -> np.ndarray:
    import tensorflow as tf

    from breastus.data.masks import lesion_mask
    from breastus.preprocessing.transform import Transform

    transform = Transform(image_size=SIZE, aspect="keep")
    found = []
    for path, masks in zip(rows["path"], rows["mask_paths"], strict=True):
        pixels = read_image(path)
        mask = lesion_mask([name for name in masks.split(";") if name], pixels.shape[:2])
        framed = transform.crop_and_resize_mask(tf.constant(mask[..., None]), tf.constant(pixels))
        cell = SIZE // 24
        found.append(framed.numpy().reshape(24, cell, 24, cell).mean((1, 3)) / 255)
    return np.stack(found)


# (features, indices of the training rows, seed) -> (features of any images) -> logits
Fit = Callable[[Features, np.ndarray, int], Callable[[Features], np.ndarray]]


def logistic_regression(features: np.ndarray, lump: np.ndarray, *, strength: float) -> Callable:
    """Return a function from features [n, C] to logits [n], fitted with balanced classes.

    Args:
        features: training features, [n, C]; they are standardised.
        lump: 1 for lump, [n].
        strength: inverse of the L2 regularisation.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fit = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, max_iter=3000, class_weight="balanced")
    ).fit(features, lump)
    return fit.decision_function


def fit_features(name: str, strength: float) -> Fit:
    """Return a fit of one property of `Features`."""

    def fit(features: Features, rows: np.ndarray, seed: int) -> Callable:
        score = logistic_regression(
            getattr(features, name)[rows], features.lump[rows], strength=strength
        )
        return lambda other: score(getattr(other, name))

    return fit


def fit_cells(features: Features, rows: np.ndarray, seed: int) -> Callable:
    """Fit cells to lesion masks; the logit of an image is the mean of its best cells."""
    rng = np.random.default_rng(seed)
    cells, fraction = features.cells[rows], features.lesion_fraction[rows]
    inside, outside = fraction > 0.5, np.argwhere(fraction < 0.02)
    # All cells of lesions and as many others; all others would take an hour.
    outside = outside[rng.choice(len(outside), min(len(outside), 2 * inside.sum()), replace=False)]
    chosen = np.concatenate([np.argwhere(inside), outside])
    columns = cells[tuple(chosen.T)].astype(np.float32)
    score = logistic_regression(columns, np.arange(len(chosen)) < inside.sum(), strength=1e-3)

    def best_cells(other: Features) -> np.ndarray:
        flat = other.cells.reshape(-1, other.cells.shape[-1]).astype(np.float32)
        each = score(flat).reshape(len(other.cells), -1)
        return np.sort(each, axis=1)[:, -_TOP_CELLS:].mean(axis=1)

    return best_cells


def fit_both(features: Features, rows: np.ndarray, seed: int) -> Callable:
    """Fit pooled features and cells; the logit is their mean in standard deviations."""
    parts = [fit(features, rows, seed) for fit in (fit_features("pooled", 1e-3), fit_cells)]
    scales = [np.std(part(features)[rows]) for part in parts]
    return lambda other: sum(p(other) / s for p, s in zip(parts, scales, strict=True)) / 2


ROWS: dict[str, Fit] = {
    "size and borders": fit_features("borders", 1.0),
    "grey levels": fit_features("levels", 0.1),
    "frozen features": fit_features("pooled", 1e-3),
    "frozen cells": fit_cells,
    "frozen, both": fit_both,
}
_SETTINGS = EvaluationConfig(calibration="platt")


def cross_validated(fit: Fit, features: Features, repeat: int) -> pd.DataFrame:
    """Return out-of-fold predictions of a repeat; each fold is decided by its validation part."""
    rows = features.rows
    tables = []
    for fold in range(FOLDS):
        splits = make_splits(rows, scheme="kfold", seed=repeat, fold=fold, folds=FOLDS)
        split = splits["split"].to_numpy()
        logit = fit(features, np.flatnonzero(split == "train"), repeat)(features)
        table = _predictions(rows, logit)
        decision = Decision.fit(table[split == "val"], _SETTINGS, seed=repeat)
        tables.append(decision.apply(table[split == "test"]))
    return pd.concat(tables).sort_values("image_id", ignore_index=True)


def predict_outside(
    fit: Fit, inside: Features, outside: Features, pooled: pd.DataFrame
) -> pd.DataFrame:
    """Return predictions for another hospital, whose labels are not used."""
    logit = fit(inside, np.arange(len(inside.rows)), 0)(outside)
    return Decision.fit(pooled, _SETTINGS, seed=0).apply(_predictions(outside.rows, logit))


def _predictions(rows: pd.DataFrame, logit: np.ndarray) -> pd.DataFrame:
    probability = np.clip(sigmoid(logit), 1e-9, 1 - 1e-9)
    return rows[["image_id", "group_id", "finding", "label"]].assign(
        split="test", probability_uncalibrated=probability
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds busi and bus_uclm_sample")
    parser.add_argument("--out", type=Path, default=RESULTS, help="page (default: RESULTS.md)")
    args = parser.parse_args()
    import_tensorflow()
    from breastus.runs.environment import describe_hardware, hardware

    start = time.perf_counter()
    inside, outside = (
        Features(
            included(load_manifest(args.data / name, settings=DataConfig())).reset_index(drop=True)
        )
        for name in ("busi", "bus_uclm_sample")
    )
    inside_rows, outside_rows = [], []
    for name, fit in ROWS.items():
        tables = [cross_validated(fit, inside, repeat) for repeat in range(REPEATS)]
        inside_rows.append(score_row(name, recipe_metrics(tables)))
        predictions = predict_outside(fit, inside, outside, tables[0])
        outside_rows.append(score_row(name, recipe_metrics([predictions])))
        print(inside_rows[-1], outside_rows[-1], sep="\n", flush=True)
    minutes = (time.perf_counter() - start) / 60
    text = [
        *title_and_text(__doc__),
        "",
        *fact_list(
            {
                "Command": "`python -m experiments.recipes.baselines --data ...`",
                "Machine": f"{describe_hardware(hardware())}; {minutes:.0f} minutes",
                "Records": "none kept",
            }
        ),
        "",
        f"Inside, BUSI: {len(inside.rows)} images of {inside.rows['group_id'].nunique()} scenes, "
        f"mean over {REPEATS} repeats (95 % intervals over scenes).",
        "",
        *score_table(),
        *inside_rows,
        "",
        f"Outside, the sample of BUS-UCLM: {len(outside.rows)} images of "
        f"{outside.rows['patient_id'].nunique()} patients (95 % intervals over patients).",
        "",
        *score_table(),
        *outside_rows,
    ]
    write_section(args.out, "baselines", "\n".join(text))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # undefined metrics of small test parts
        run_script(main)
