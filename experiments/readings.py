"""What the readings of the study reach over seeds, with and without a twin in training.

`python -m experiments.results` writes the tables, and `make docs` draws the figures.

A twin is a near-duplicate of a test image among the training images of its run. The likeliest
output (argmax) is the predicted class; of three outputs, benign and malignant both mean lump.
"""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from breastus.evaluation.metrics.metrics import roc_auc
from breastus.evaluation.predictions import finding_probabilities, truth_and_probability
from breastus.evaluation.published_baseline import published_baseline
from breastus.labels import LUMP, NO_LUMP
from breastus.reporting.figures.style import COLORS, NARROW, STYLE, WIDE
from experiments.pages import table
from experiments.recipes.study_readings import EXPERIMENT, VARIANTS
from experiments.records import Record
from experiments.twins import read_twins

_CLASSES = {NO_LUMP: "normals", LUMP: "lumps"}
_TWIN = {True: "twin in training", False: "no twin"}


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


# === The two figures ===

# What the parts of a variant's name mean.
_WORDS = {
    "labels": "2 outputs",
    "findings": "3 outputs",
    "zscore": "z-scores",
    "unit": "0 to 1",
    "raw": "0 to 255",
    "accuracy": "best accuracy",
    "last": "last epoch",
    "warmup": "warm-up",
    "decay": "decay 0.01",
}
_KINDS = ("random split", "random split, PARULA", "scene-disjoint split", "scene-disjoint, PARULA")
_HEADING, _PUBLISHED, _ROW, _NARROW_ROW = 0.42, 0.22, 0.27, 0.46  # inches
_CLOSE = 0.012  # dots closer than this stand above each other


def draw_figures(variants: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, Figure]]:
    """Return the figures of the study's page, each as `wide` and `narrow`, for phones.

    `seeds`: sensitivity and specificity of every seed, with the published value. `twins`: recall
    with and without a twin in training, if a split with twins is recorded.
    """
    rows, twins = _rows(variants), read_twins(EXPERIMENT)
    drawn = {"seeds": lambda narrow: plot_seeds(rows, narrow=narrow)}
    known = {
        name: found
        for name, records in variants.items()
        if (found := _by_twin(records, twins)) is not None
    }
    if any(found["twin"].any() for found in known.values()):
        drawn["twins"] = lambda narrow: plot_twins(rows, known, narrow=narrow)
    return {name: {"wide": draw(False), "narrow": draw(True)} for name, draw in drawn.items()}


def _rows(variants: Mapping[str, Sequence[Record]]) -> list[tuple[str, list[tuple[str, list]]]]:
    """Return the kinds of split, each with its variants: label and runs, as the recipe lists them.

    The published value differs by colours, so that these are of one kind.
    """
    kinds: dict[str, list] = {kind: [] for kind in _KINDS}
    found = []
    for place, name in enumerate([*VARIANTS, *sorted(variants.keys() - VARIANTS)]):
        parts = name.split("-")
        kind = 2 * ("scenes" in parts) + ("parula" in parts)
        words = [_WORDS.get(part, part) for part in parts if part not in ("scenes", "parula")]
        if name in variants:
            found.append((len(words), place, kind, words, name))
    for _, _, kind, words, name in sorted(found):  # what changes one thing more comes later
        kinds[_KINDS[kind]].append((", ".join(words), name, variants[name]))
    return [(kind, found) for kind, found in kinds.items() if found]


def _panels(
    rows, titles: Sequence[str], *, narrow: bool, more: float = 0.0
) -> tuple[Figure, list[Axes], dict]:
    """Return a figure of two panels that share rows, and the height of each row, from the top.

    Keys of the heights are names of variants, and kinds for their headings, below which is `more`
    room (inches).
    """
    row, heights, top = _NARROW_ROW if narrow else _ROW, {}, 0.0
    for kind, found in rows:
        heights[kind] = top + 0.26
        top += _HEADING + more
        for _, name, _ in found:
            heights[name] = top + (0.7 if narrow else 0.5) * row
            top += row
    figure = Figure(figsize=(NARROW if narrow else WIDE, top + 1.25), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    axes = list(figure.subplots(1, 2, sharey=True))
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10 if narrow else 11)
        axis.set(xlim=(-0.02, 1.02), ylim=(top + 0.05, 0))
        axis.set_xticks([0, 0.5, 1] if narrow else np.linspace(0, 1, 6))
        axis.grid(False, axis="y")
        axis.tick_params(axis="y", length=0)
        axis.set_axisbelow(True)
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks([])
    for kind, found in rows:
        _write(axes[0], kind, heights[kind], narrow=narrow, weight="bold")
        for axis in axes:
            if kind != rows[0][0]:
                axis.axhline(heights[kind] - 0.23, color=COLORS["line"], lw=0.8)
        for label, name, _ in found:
            place = heights[name] - 0.5 * row if narrow else heights[name]
            _write(axes[0], label, place, narrow=narrow)
    return figure, axes, heights


def _write(axis: Axes, text: str, place: float, *, narrow: bool, weight: str = "normal") -> None:
    """Write the name of a row beside it, or on a narrow figure above it."""
    axis.annotate(
        text,
        (0, place),
        xycoords=axis.get_yaxis_transform(),
        xytext=(0 if narrow else -10, 0),
        textcoords="offset points",
        ha="left" if narrow else "right",
        va="center",
        fontsize=8.5 if narrow else 9.5,
        fontweight=weight,
        annotation_clip=False,
        bbox={"facecolor": COLORS["paper"], "lw": 0, "pad": 1.5} if narrow else None,
        zorder=4,
    )


@mpl.rc_context(STYLE)
def plot_seeds(rows, *, narrow: bool = False) -> Figure:
    """Draw sensitivity and specificity of each seed by reading, with the published value."""
    more = _PUBLISHED if narrow else 0.0
    titles = ("Sensitivity", "Specificity")
    figure, axes, heights = _panels(rows, titles, narrow=narrow, more=more)
    for axis, value, score in zip(
        axes, (LUMP, NO_LUMP), ("sensitivity", "specificity"), strict=True
    ):
        for kind, found in rows:
            entry = _published(found[0][2][0])[score]
            top = heights[kind] + (0.08 + more if narrow else 0)
            bottom = heights[found[-1][1]] + 0.13
            axis.fill_betweenx(
                [top, bottom], entry["ci_low"], entry["ci_high"], color=COLORS["lump"], alpha=0.13,
                lw=0,
            )  # fmt: skip
            axis.plot([entry["value"]] * 2, [top, bottom], "--", color=COLORS["lump"], lw=1.5)
            axis.text(
                entry["value"], top - 0.02, f"published {entry['value']:.2f}", ha="center",
                va="bottom", fontsize=8.5, color=COLORS["lump"],
            )  # fmt: skip
            for _, name, records in found:
                values = np.array([recall(predictions(one), value) for one in records])
                place = heights[name]
                axis.plot(
                    values, place + _apart(values), "o", color=COLORS["no_lump"], alpha=0.6,
                    ms=4.5, mew=0, clip_on=False,
                )  # fmt: skip
                if len(values) > 1:
                    axis.plot(values.mean(), place, "|", color=COLORS["ink"], ms=13, mew=2)
    legend = [
        Line2D([], [], marker="o", ls="none", color=COLORS["no_lump"], alpha=0.6, ms=5, mew=0),
        Line2D([], [], marker="|", ls="none", color=COLORS["ink"], ms=11, mew=2),
        Line2D([], [], ls="--", color=COLORS["lump"], lw=1.5),
        Patch(color=COLORS["lump"], alpha=0.13, lw=0),
    ]
    names = ("one seed", "mean of the seeds", "published", "its 95 % interval")
    _legend(figure, legend, names, narrow=narrow)
    return figure


def _apart(values: np.ndarray) -> np.ndarray:
    """Return how far each dot stands from its row, in inches, so that equal ones are seen."""
    offsets, order = np.zeros(len(values)), np.argsort(values, kind="stable")
    stack: list[int] = []
    for place in order:
        if stack and values[place] - values[stack[0]] > _CLOSE:
            stack = []
        offsets[place] = 0.035 * ((len(stack) + 1) // 2) * (-1) ** len(stack)
        stack.append(place)
    return np.clip(offsets, -0.11, 0.11)


@mpl.rc_context(STYLE)
def plot_twins(rows, by_twin: Mapping[str, pd.DataFrame], *, narrow: bool = False) -> Figure:
    """Draw the recall of images with a twin in training, and of those without, by reading."""
    rows = [
        (kind, shown)
        for kind, found in rows
        if (shown := [one for one in found if one[1] in by_twin])
    ]
    crossing = [found for found in by_twin.values() if found["twin"].any()]
    pooled = pd.concat(crossing, ignore_index=True)
    runs = sum(found["seed"].nunique() for found in crossing)
    everything = "all runs with twins"
    rows = [(everything, [(f"{runs} runs", everything + " ", None)]), *rows]
    tables = {**by_twin, everything + " ": pooled}
    titles = ("Recall, normals", "Recall, lumps")
    figure, axes, heights = _panels(rows, titles, narrow=narrow)
    for axis, value in zip(axes, _CLASSES, strict=True):
        for _, found in rows:
            for _, name, _ in found:
                _draw_pair(axis, heights[name], tables[name], value, whole=name not in by_twin)
    legend = [
        Line2D([], [], marker="o", ls="none", mfc=face, mec=COLORS[color], mew=1.8, ms=6.5)
        for face, color in ((COLORS["no_lump"], "no_lump"), (COLORS["paper"], "lump"))
    ]
    _legend(figure, legend, ("twin in training", "no twin"), narrow=narrow)
    return figure


def _draw_pair(axis: Axes, place: float, images: pd.DataFrame, value: int, *, whole: bool) -> None:
    """Draw recall with and without a twin as two dots; `whole` writes the values beside them."""
    shares = {
        twin: correct / number
        for twin in _TWIN
        for correct, number in [_count(images, value, twin)]
        if number
    }
    axis.plot(list(shares.values()), [place] * len(shares), color=COLORS["line"], lw=3, zorder=1)
    size = 9 if whole else 6.5
    for twin, share in shares.items():
        color = COLORS["no_lump" if twin else "lump"]
        face = color if twin else COLORS["paper"]
        axis.plot(share, place, "o", mfc=face, mec=color, mew=1.8, ms=size, clip_on=False)
        if whole:
            right = share == max(shares.values())
            axis.annotate(
                f"{share:.2f}", (share, place), xytext=(9 if right else -9, 0),
                textcoords="offset points", ha="left" if right else "right", va="center",
                fontsize=9.5, fontweight="bold", color=color, annotation_clip=False,
            )  # fmt: skip


def _legend(figure: Figure, handles: Sequence, names: Sequence[str], *, narrow: bool) -> None:
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=2 if narrow else len(names),
        frameon=False,
        fontsize=9 if narrow else 9.5,
        handletextpad=0.5,
    )
