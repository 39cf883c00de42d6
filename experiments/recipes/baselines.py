"""What is reached without training a network? Features and logistic regression, on its folds.

    python -m experiments.recipes.baselines --data path/to/folder

The folder holds `busi` and `bus_uclm_sample`. Each row is cross-validated on BUSI by scene, with
the known faults left out (five folds, three repeats: the folds of `breastus train --folds 5`), and
fitted on all of BUSI once more for the outside hospital, BUS-UCLM's sample. Each fold's validation
part chooses calibration and threshold, and for the outside the pooled out-of-fold scores do. A
network that does not beat the row of frozen features has learned little.

size and borders     width, height, ratio, how much is black, how much is cut off as border
grey levels          histogram of 32 bins, mean level at 16 depths
frozen features      EfficientNet-Lite0 with ImageNet's weights, 384 pixels, aspect kept: mean and
                     maximum of the last map, averaged over the image and its mirror image
three networks       Lite0, Lite1 and Lite2 in the same way, of their maps of strides 8, 16 and 32
frozen cells         Lite0's maps of strides 8, 16 and 32 cell by cell, taught by lesion masks; an
                     image scores as its best cells do
frozen, both         the mean of frozen features and frozen cells, in standard deviations
"""

import argparse
import functools
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from breastus.cli.quiet import import_tensorflow
from breastus.config.schema import DataConfig, EvaluationConfig
from breastus.data.images import read_image
from breastus.data.manifest.build import included, load_manifest
from breastus.data.splits.make import make_splits
from breastus.errors import BreastusError
from breastus.evaluation.calibration.logistic import sigmoid
from breastus.evaluation.decision.decision import decide
from breastus.evaluation.intervals.repeated_metrics import mean_metrics
from breastus.labels import LABELS, LUMP
from experiments.pages import RESULTS, score_row, score_table, write_section

FOLDS, REPEATS, SIZE = 5, 3, 384
_BLACK = 10  # grey levels, as in the image transform
_TOP_CELLS = 8  # of 576: what the median lesion of BUSI covers is twice that


class Features:
    """What is measured of a data set's images, computed when it is first asked for.

    Args:
        rows: included rows of a manifest.
    """

    def __init__(self, rows: pd.DataFrame):
        self.rows = rows
        self.lump = (rows["label"] == LABELS[LUMP]).to_numpy(int)

    @functools.cached_property
    def borders(self) -> np.ndarray:
        return np.stack([_borders(read_image(path)) for path in self.rows["path"]])

    @functools.cached_property
    def levels(self) -> np.ndarray:
        return np.stack([_levels(read_image(path)) for path in self.rows["path"]])

    @functools.cached_property
    def frozen(self) -> tuple[np.ndarray, np.ndarray]:
        """Pooled features [n, 2560] and cells float16 [n, 24, 24, C]."""
        return _frozen(self.rows)

    @functools.cached_property
    def three(self) -> np.ndarray:
        """Pooled features of three networks, [n, 3184]."""
        return _three(self.rows)

    @functools.cached_property
    def cell_targets(self) -> np.ndarray:
        """Share of each cell that is lesion, [n, 24, 24]."""
        return _cell_targets(self.rows)


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


def _batches(rows: pd.DataFrame):
    """Yield the images of rows as a network takes them, 16 at a time."""
    import tensorflow as tf

    from breastus.data.images import ImageFile
    from breastus.preprocessing.transform import Transform

    transform = Transform(image_size=SIZE, aspect="keep")
    for start in range(0, len(rows), 16):
        files = [ImageFile.read(path).encoded for path in rows["path"][start : start + 16]]
        yield transform.bytes_to_input(tf.constant(files))


def _three(rows: pd.DataFrame) -> np.ndarray:
    from breastus.models.backbone import cut
    from breastus.models.registry import build_model

    model = build_model("efficientnet_mil_ensemble", image_size=SIZE, weights="imagenet")
    backbone, _ = cut(model)
    found = []
    for images in _batches(rows):
        maps = np.stack([backbone(x, training=False) for x in (images, images[:, :, ::-1])])
        pooled = np.concatenate([maps.mean((2, 3)), maps.max((2, 3))], axis=-1)
        found.append(pooled.mean(axis=0))
    return np.concatenate(found)


def _frozen(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    import keras
    import tensorflow as tf

    from breastus.models.registry import build_model

    network = build_model("efficientnet_lite0", image_size=SIZE, weights="imagenet")
    names = ("block_4_add", "block_10_add", "block_15_project_norm", "feature_map")
    maps = keras.Model(network.input, [network.get_layer(name).output for name in names])
    pooled, cells = [], []
    for images in _batches(rows):
        both = []
        for mirrored in (False, True):
            found = maps(images[:, :, ::-1] if mirrored else images, training=False)
            fine, middle, coarse, top = (x[:, :, ::-1] if mirrored else x for x in found)
            cell = [
                tf.nn.avg_pool2d(fine, 2, 2, "VALID"),
                tf.nn.max_pool2d(fine, 2, 2, "VALID"),
                middle,
                tf.repeat(tf.repeat(coarse, 2, axis=1), 2, axis=2),
            ]
            whole = [tf.reduce_mean(top, [1, 2]), tf.reduce_max(top, [1, 2])]
            both.append((tf.concat(whole, -1).numpy(), tf.concat(cell, -1).numpy()))
        pooled.append(np.mean([one for one, _ in both], axis=0))
        cells.append(np.mean([one for _, one in both], axis=0).astype(np.float16))
    return np.concatenate(pooled), np.concatenate(cells)


def _cell_targets(rows: pd.DataFrame) -> np.ndarray:
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


Scores = Callable[[Features, np.ndarray], np.ndarray]


def fit_columns(features: np.ndarray, lump: np.ndarray, *, strength: float):
    """Return a function from columns to logits: standardised logistic regression, classes even."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fit = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, max_iter=3000, class_weight="balanced")
    ).fit(features, lump)
    return fit.decision_function


def fit_cells(cells: np.ndarray, targets: np.ndarray, *, seed: int):
    """Return a function from cells [n, 24, 24, C] to logits [n]: the mean of the best cells'."""
    rng = np.random.default_rng(seed)
    inside, outside = targets > 0.5, targets < 0.02
    # All cells of lesions and as many elsewhere, or the regression takes an hour.
    there = np.argwhere(outside)
    there = there[rng.choice(len(there), min(len(there), 2 * inside.sum()), replace=False)]
    chosen = np.concatenate([np.argwhere(inside), there])
    columns = cells[tuple(chosen.T)].astype(np.float32)
    score = fit_columns(columns, np.arange(len(chosen)) < inside.sum(), strength=1e-3)

    def best(images: np.ndarray) -> np.ndarray:
        flat = images.reshape(-1, images.shape[-1]).astype(np.float32)
        each = score(flat).reshape(len(images), -1)
        return np.sort(each, axis=1)[:, -_TOP_CELLS:].mean(axis=1)

    return best


def columns_row(name: str, strength: float) -> Callable:
    """Return a row: (features, indices to fit on, seed) to a function of features to logits."""

    def fit(features: Features, rows: np.ndarray, seed: int) -> Callable:
        of = _getter(name)
        score = fit_columns(of(features)[rows], features.lump[rows], strength=strength)
        return lambda other: score(of(other))

    return fit


def _getter(name: str) -> Callable:
    return {
        "borders": lambda f: f.borders,
        "levels": lambda f: f.levels,
        "pooled": lambda f: f.frozen[0],
        "three": lambda f: f.three,
    }[name]


def cells_row(features: Features, rows: np.ndarray, seed: int) -> Callable:
    score = fit_cells(features.frozen[1][rows], features.cell_targets[rows], seed=seed)
    return lambda other: score(other.frozen[1])


def both_row(features: Features, rows: np.ndarray, seed: int) -> Callable:
    parts = [fit(features, rows, seed) for fit in (columns_row("pooled", 1e-3), cells_row)]
    scales = [np.std(part(features)[rows]) for part in parts]
    return lambda other: sum(p(other) / s for p, s in zip(parts, scales, strict=True)) / 2


ROWS = {
    "size and borders": columns_row("borders", 1.0),
    "grey levels": columns_row("levels", 0.1),
    "frozen features": columns_row("pooled", 1e-3),
    "three networks": columns_row("three", 1e-3),
    "frozen cells": cells_row,
    "frozen, both": both_row,
}


def cross_validated(fit: Callable, features: Features, repeat: int) -> pd.DataFrame:
    """Return out-of-fold predictions of a repeat, each fold decided by its own validation part."""
    rows = features.rows
    tables = []
    for fold in range(FOLDS):
        splits = make_splits(rows, scheme="kfold", seed=repeat, fold=fold, folds=FOLDS)
        split = splits["split"].to_numpy()
        logit = fit(features, np.flatnonzero(split == "train"), repeat)(features)
        table = _table(rows, logit)
        decision = decide(table[split == "val"], _SETTINGS, seed=repeat)
        tables.append(decision.apply(table[split == "test"]))
    return pd.concat(tables).sort_values("image_id", ignore_index=True)


def outside(fit: Callable, inside: Features, other: Features, pooled: pd.DataFrame) -> pd.DataFrame:
    """Return predictions of another hospital's images; nothing of it is used but the images."""
    logit = fit(inside, np.arange(len(inside.rows)), 0)(other)
    return decide(pooled, _SETTINGS, seed=0).apply(_table(other.rows, logit))


_SETTINGS = EvaluationConfig(calibration="platt")


def _table(rows: pd.DataFrame, logit: np.ndarray) -> pd.DataFrame:
    raw = np.clip(sigmoid(logit), 1e-9, 1 - 1e-9)
    return rows[["image_id", "group_id", "finding", "label"]].assign(
        split="test", probability_uncalibrated=raw
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds busi and bus_uclm_sample")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    import_tensorflow()
    from breastus.runs.environment import describe_hardware, hardware

    start = time.perf_counter()
    settings = DataConfig()
    inside, other = (
        Features(
            included(load_manifest(args.data / name, settings=settings)).reset_index(drop=True)
        )
        for name in ("busi", "bus_uclm_sample")
    )
    lines = {"inside": [], "outside": []}
    for name, fit in ROWS.items():
        tables = [cross_validated(fit, inside, repeat) for repeat in range(REPEATS)]
        lines["inside"].append(score_row(name, mean_metrics(tables)))
        elsewhere = outside(fit, inside, other, tables[0])
        lines["outside"].append(score_row(name, mean_metrics([elsewhere])))
        print(lines["inside"][-1], lines["outside"][-1], sep="\n", flush=True)
    minutes = (time.perf_counter() - start) / 60
    recipe = __doc__.strip().split("\n\n", 2)
    text = [
        f"## {__doc__.splitlines()[0]}",
        "",
        recipe[2].split("\n\nsize and borders")[0],
        "",
        "```",
        recipe[2][recipe[2].index("size and borders") :],
        "```",
        "",
        "- Command: `python -m experiments.recipes.baselines --data ...`",
        f"- Machine: {describe_hardware(hardware())}; {minutes:.0f} minutes",
        "",
        f"Inside, BUSI: {len(inside.rows)} images of {inside.rows['group_id'].nunique()} scenes, "
        f"mean over {REPEATS} repeats (95 % intervals over scenes: of the "
        "ROC-AUC DeLong's, of the rest by bootstrap).",
        "",
        *score_table(),
        *lines["inside"],
        "",
        f"Outside, BUS-UCLM's sample: {len(other.rows)} images of "
        f"{other.rows['patient_id'].nunique()} patients (95 % intervals likewise, over "
        "patients).",
        "",
        *score_table(),
        *lines["outside"],
    ]
    write_section(args.out, "baselines", "\n".join(text))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            main()
        except BreastusError as error:
            raise SystemExit(f"error: {error}") from error
