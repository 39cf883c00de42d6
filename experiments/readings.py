"""What the readings of the study reach over seeds, with and without a twin in training.

`python -m experiments.results` writes the tables and draws docs/images/study_readings.png.

A twin is a near-duplicate of a test image among the training images of its run. The likeliest
output (argmax) is the predicted class; of three outputs, benign and malignant both mean lump.
"""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from breastus.evaluation.metrics.metrics import roc_auc
from breastus.evaluation.predictions import finding_probabilities, truth_and_probability
from breastus.evaluation.published_baseline import published_baseline
from breastus.labels import LUMP, NO_LUMP
from breastus.reporting.figures.style import COLORS, STYLE, save_figure
from experiments.pages import ROOT, table
from experiments.recipes.study_readings import EXPERIMENT
from experiments.records import Record
from experiments.twins import read_twins

FIGURE = ROOT / "docs" / "images" / "study_readings.png"
_CLASSES = {NO_LUMP: "normals", LUMP: "lumps"}
_TWIN = {True: "twin in training", False: "no twin"}


def draw(variants: Mapping[str, Sequence[Record]]) -> None:
    """Draw the figure of the study's page from the recorded runs."""
    save_figure(plot_readings(variants, read_twins(EXPERIMENT)), FIGURE)


def predictions(record: Record) -> pd.DataFrame:
    """Return the predictions of a run for its test images.

    Returns:
        `image_id`, `truth` and `predicted` (1 for lump), `probability` (of lump).
    """
    test = record.split("test")
    truth, probability = truth_and_probability(test)
    predicted = probability >= 0.5
    if (findings := finding_probabilities(test)) is not None:
        predicted = findings.argmax(axis=1) > 0
    columns = {"truth": truth, "probability": probability, "predicted": predicted.astype(int)}
    return test[["image_id"]].assign(**columns)


def recall(images: pd.DataFrame, value: int) -> float:
    """Return the share of the images of a class that are predicted so; NaN without any."""
    of_class = images[images["truth"] == value]
    return float((of_class["predicted"] == value).mean()) if len(of_class) else np.nan


def readings_tables(variants: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return the lines of two tables: scores over seeds, and recall with and without a twin."""
    twins = read_twins(EXPERIMENT)
    scores, by_twin = [], []
    for name, records in variants.items():
        each = [predictions(record) for record in records]
        areas = [float(roc_auc(one["truth"].to_numpy(), one["probability"])) for one in each]
        found = [[recall(one, value) for one in each] for value in (LUMP, NO_LUMP)]
        inside = sum(_inside(record, *pair) for record, *pair in zip(records, *found, strict=True))
        scores.append([name, len(each), *map(_spread, (areas, *found)), f"{inside} of {len(each)}"])
        if (split := _by_twin(records, twins)) is not None:
            cells = [
                f"{correct} of {number}" if number else "none"
                for value in _CLASSES
                for twin in _TWIN
                for correct, number in [_count(split, value, twin)]
            ]
            by_twin.append([name, *cells, *(_area(split, twin) for twin in _TWIN)])
    return [
        "Each reading over its seeds: mean (lowest to highest). The likeliest output is the "
        "predicted class; of three outputs, benign and malignant both mean lump. The last column "
        "counts the seeds whose sensitivity and specificity are both within the 95 % intervals of "
        "the published ones, of the same colours:",
        "",
        *table(
            ["", "seeds", "ROC-AUC", "sensitivity", "specificity", "inside the published"], scores
        ),
        "",
        "The test images of all seeds, by whether a near-duplicate (twin) is among the training "
        "images of the same run: correct predictions, and mean ROC-AUC over seeds:",
        "",
        *table(
            [
                "",
                *(
                    f"{of_class}, {twin}"
                    for of_class in _CLASSES.values()
                    for twin in _TWIN.values()
                ),
                *(f"ROC-AUC, {twin}" for twin in _TWIN.values()),
            ],
            by_twin,
        ),
        "",
    ]


def _spread(values: Iterable[float]) -> str:
    values = np.array(list(values))
    if not np.isfinite(values).all():
        return "undefined"
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"


def _published(record: Record) -> dict:
    return published_baseline("cnn", record.facts["settings"]["preprocessing"]["color"])


def _inside(record: Record, sensitivity: float, specificity: float) -> bool:
    """Return whether a run agrees with the published scores."""
    row, own = _published(record), {"sensitivity": sensitivity, "specificity": specificity}
    return all(row[name]["ci_low"] <= own[name] <= row[name]["ci_high"] for name in own)


def _by_twin(
    records: Sequence[Record], twins: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame | None:
    """Return the predictions with `seed` and `twin`; None if a split was not searched."""
    parts = []
    for record in records:
        if (known := twins.get(record.facts["data_fingerprint"])) is None:
            return None
        images = predictions(record)
        parts.append(images.assign(seed=record.seed, twin=images["image_id"].isin(known)))
    return pd.concat(parts, ignore_index=True)


def _count(images: pd.DataFrame, value: int, twin: bool) -> tuple[int, int]:
    """Return the number of correct predictions for images of a class, and of these images."""
    rows = images[(images["truth"] == value) & (images["twin"] == twin)]
    return int((rows["predicted"] == value).sum()), len(rows)


def _area(images: pd.DataFrame, twin: bool) -> str:
    """Return the mean ROC-AUC over the seeds that have images of both classes."""
    rows = images[images["twin"] == twin]
    areas = [
        float(roc_auc(one["truth"].to_numpy(), one["probability"].to_numpy()))
        for _, one in rows.groupby("seed")
        if one["truth"].nunique() == 2
    ]
    return f"{np.mean(areas):.2f}" if areas else "undefined"


@mpl.rc_context(STYLE)
def plot_readings(
    variants: Mapping[str, Sequence[Record]], twins: Mapping[str, Mapping[str, str]]
) -> Figure:
    """Draw the balanced accuracy of every seed, and recall with and without a twin.

    The first panel has a row for each reading and the published value as a dashed line; the second
    pools the runs whose split lets twins cross.
    """
    figure = Figure(figsize=(10.4, max(4.0, 1.4 + 0.3 * len(variants))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_seeds(left, variants)
    crossing = [
        part
        for records in variants.values()
        if (part := _by_twin(records, twins)) is not None and part["twin"].any()
    ]
    _draw_twins(right, pd.concat(crossing, ignore_index=True) if crossing else None)
    return figure


def _draw_seeds(axis: Axes, variants: Mapping[str, Sequence[Record]]) -> None:
    rng = np.random.default_rng(0)
    for place, records in enumerate(variants.values()):
        values = [
            np.mean([recall(images, value) for value in _CLASSES])
            for images in map(predictions, records)
        ]
        heights = place + rng.uniform(-0.22, 0.22, len(values))
        axis.plot(values, heights, "o", color=COLORS["no_lump"], alpha=0.55, ms=5, mew=0)
        axis.plot(np.mean(values), place, "|", color=COLORS["ink"], ms=14, mew=2)
        published = _published(records[0])["balanced_accuracy"]["value"]
        axis.plot([published] * 2, [place - 0.5, place + 0.5], "--", color=COLORS["lump"], lw=1.4)
    axis.set_yticks(range(len(variants)), list(variants))
    axis.set(xlim=(0.4, 1.0), ylim=(len(variants) - 0.5, -0.5))
    axis.grid(False, axis="y")
    axis.set_xlabel("balanced accuracy (dot: a seed, bar: mean, dashed: published)")
    axis.set_title("Distribution over seeds")


def _draw_twins(axis: Axes, images: pd.DataFrame | None) -> None:
    axis.set_title("Recall with and without a twin in training")
    if images is None:
        axis.text(0.5, 0.5, "no split with twins is recorded", ha="center", va="center")
        axis.set_axis_off()
        return
    for place, value in enumerate(_CLASSES):
        for shift, (twin, label) in zip((-0.2, 0.2), _TWIN.items(), strict=True):
            correct, number = _count(images, value, twin)
            share = correct / number if number else 0.0
            color = COLORS["lump" if value == LUMP else "no_lump"]
            axis.bar(place + shift, share, 0.36, color=color, alpha=1.0 if twin else 0.45)
            text = f"{share:.2f}\n{label}\n{number} images"
            axis.text(place + shift, share + 0.015, text, ha="center", fontsize=8.5)
        axis.axvline(place + 0.5, color=COLORS["line"], lw=0.8)
    axis.set_xticks(range(len(_CLASSES)), [f"recall of {name}" for name in _CLASSES.values()])
    axis.set(xlim=(-0.5, 1.5), ylim=(0, 1.25), yticks=np.linspace(0, 1, 6))
    axis.grid(False, axis="x")
