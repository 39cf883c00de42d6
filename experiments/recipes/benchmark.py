"""Baselines of the benchmark: out-of-fold predictions on busi-scenes-v1

Logistic regression on frozen features of EfficientNet-Lite0 (ImageNet weights, 384 pixels, aspect
ratio kept; mean and maximum of the last map, averaged over the image and its mirror image). In
each fold the validation fold chooses the strength of the regularisation, by log loss; its share of
lumps is the threshold. The other three folds train. Nothing is chosen on the tested fold.

    python -m experiments.recipes.benchmark --data path/to/BUSI

It records the predictions in `records/benchmark/`, and writes the file that ships with the package
(`breastus/evaluation/comparison/baseline_predictions/`). `python -m experiments.results` then
writes the table of entries. One core without GPU: about eight minutes. Expected ROC-AUC: 0.93 to
0.95.
"""

import argparse
import time

import numpy as np
import pandas as pd

from breastus.data.images import read_image
from breastus.data.splits.benchmark import NAMED_SPLITS, make_benchmark_split, parts_of_fold
from breastus.errors import RunError
from breastus.evaluation.comparison.baselines import DIGITS, FOLDER
from breastus.labels import LABELS, LUMP
from breastus.utils.files import write_csv
from breastus.utils.quiet import import_tensorflow
from breastus.workflows.export_splits import DEFAULTS
from breastus.workflows.prepare import prepare_manifest, with_settings
from experiments import entries
from experiments.pages import run_script
from experiments.records import code_version

SPLIT, SIZE, BATCH = "busi-scenes-v1", 384, 16
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # inverse of the L2 regularisation
ENTRY = "frozen_features"
TITLE = "logistic regression on frozen EfficientNet-Lite0"


def pooled_features(paths: list[str]) -> np.ndarray:
    """Return mean and maximum of the last map, averaged over the mirror image, [n, 2560]."""
    import tensorflow as tf

    from breastus.models.backbone import split_backbone_head
    from breastus.models.registry import build_model
    from breastus.preprocessing.transform import Transform

    backbone, _ = split_backbone_head(
        build_model("efficientnet_lite0", image_size=SIZE, weights="imagenet")
    )
    transform = Transform(image_size=SIZE, aspect="keep")

    @tf.function(reduce_retracing=True)
    def pooled(pixels: tf.Tensor) -> tf.Tensor:
        images = transform.normalize(pixels)
        maps = [backbone(one, training=False) for one in (images, images[:, :, ::-1])]
        both = [
            tf.concat([tf.reduce_mean(one, (1, 2)), tf.reduce_max(one, (1, 2))], axis=-1)
            for one in maps
        ]
        return (both[0] + both[1]) / 2

    scans = tf.data.Dataset.from_generator(
        lambda: map(read_image, paths), output_signature=tf.TensorSpec([None, None, 3], tf.uint8)
    )
    batches = scans.map(transform.crop_and_resize).batch(BATCH)
    return np.concatenate([pooled(batch).numpy() for batch in batches])


def out_of_fold(features: np.ndarray, lump: np.ndarray, fold: np.ndarray) -> pd.DataFrame:
    """Return `probability` and `threshold` of each image by the model that tests its fold.

    Args:
        features: float [n, C].
        lump: 1 for lump, int [n].
        fold: fold in which each image is tested, int [n].
    """
    result = pd.DataFrame({"probability": np.nan, "threshold": np.nan}, index=range(len(lump)))
    folds = sorted(set(fold.tolist()))
    for tested in folds:
        parts = {
            name: np.isin(fold, numbers) for name, numbers in parts_of_fold(tested, folds).items()
        }
        model, strength = _fit(features, lump, train=parts["train"], val=parts["val"])
        threshold = lump[parts["val"]].mean()  # the rule `likelihood` of breastus
        print(f"fold {tested}: C = {strength:g}, threshold {threshold:.3f}", flush=True)
        result.loc[parts["test"], "probability"] = model(features[parts["test"]])
        result.loc[parts["test"], "threshold"] = threshold
    return result


def _fit(features: np.ndarray, lump: np.ndarray, *, train: np.ndarray, val: np.ndarray):
    """Return a function from features to probabilities, and its strength, chosen on val."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fits = {
        strength: make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=5000)
        ).fit(features[train], lump[train])
        for strength in STRENGTHS
    }
    losses = {
        strength: log_loss(lump[val], fit.predict_proba(features[val])[:, 1])
        for strength, fit in fits.items()
    }
    best = min(losses, key=losses.get)
    return lambda rows: fits[best].predict_proba(rows)[:, 1], best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="BUSI")
    args = parser.parse_args()
    import_tensorflow()
    from breastus.runs.environment import describe_hardware, hardware, versions

    start, version = time.perf_counter(), code_version()
    config = with_settings(DEFAULTS, args.data, {})
    manifest = prepare_manifest(config)
    split = make_benchmark_split(manifest, config.data, config.seed)
    if split.name != SPLIT:
        raise RunError(f"The images of {args.data} must give {SPLIT}. Received: {split.name}")
    images = split.images
    paths = manifest.set_index("image_id")["path"][images["image_id"]].tolist()
    lump = (images["label"] == LABELS[LUMP]).to_numpy(int)
    found = out_of_fold(pooled_features(paths), lump, images["fold"].to_numpy())
    # As the package ships them.
    found["probability"] = found["probability"].round(4)
    found["threshold"] = found["threshold"].round(4)
    columns = ["image_id", "group_id", "finding", "label", "fold"]
    entries.record_entry(
        {
            "entry": ENTRY,
            "title": TITLE,
            "split": SPLIT,
            "fingerprint": NAMED_SPLITS[SPLIT],
            "command": "python -m experiments.recipes.benchmark --data ...",
            "code_version": version,
            "versions": versions(),
            "hardware": describe_hardware(hardware()),
            "minutes": round((time.perf_counter() - start) / 60, 1),
        },
        pd.concat([images[columns], found], axis=1).assign(run=""),
    )
    write_csv(
        FOLDER / f"{SPLIT}.csv",
        pd.DataFrame(
            {
                "image": images["pixel_sha256"].str[:DIGITS],
                ENTRY: found["probability"],
                f"{ENTRY}_threshold": found["threshold"],
            }
        ).sort_values("image"),
    )


if __name__ == "__main__":
    run_script(main)
