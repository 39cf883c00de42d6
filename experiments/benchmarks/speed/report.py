"""The section of BENCH.md about speed: figures in, Markdown out."""

import statistics

from experiments.benchmarks.speed.figures import Figures
from experiments.benchmarks.speed.variants import (
    BATCH,
    BFLOAT16,
    FLOAT32,
    MATRIX,
    NETWORKS,
    SIZE,
    Variant,
    variants,
)
from experiments.pages import table

_NAMES = {"cnn": "The study's CNN", "swin": "Swin-T"}
# GFLOP of a prediction at 224 pixels: matrix products and convolutions, a multiply-add counted as
# two. Swin-T: 4.5 billion multiply-adds (Liu et al., ICCV 2021, table 1).
GFLOPS = {"cnn": 0.922211072, "swin": 8.979600384}
TRAINING = 3  # a step computes the forward pass and the gradients of inputs and of weights
# Goals, as a multiple of the fastest of the others in any precision.
_GOALS = (
    ("cnn", "train", "training the CNN", 3.0),
    ("cnn", "predict", "prediction of the CNN", 2.0),
    ("swin", "train", "training Swin-T", 1.2),
    ("swin", "predict", "prediction of Swin-T", 1.2),
    ("augmentation", "images", "augmentation, per core", 3.0),
)
_PEAK_GOAL = 0.75  # share of the processor's peak in training the CNN


def page(figures: Figures, command: str) -> str:
    """Return the section.

    Args:
        figures: all measurements.
        command: the command that measured last.
    """
    where = figures.where
    packages = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    lines = [
        "## Speed",
        "",
        f"`{command}`",
        "",
        f"{where['machine']}; {packages}",
        "",
        "Each variant runs in a process of its own, on all cores unless a table says otherwise. A "
        "cell is the median of all repeats without warm-up, with the lowest and the highest in "
        "brackets. All figures are in records/speed.json.",
    ]
    sections = (_goals, _peak, *(_network(network) for network in NETWORKS), _augmentation, _parts)
    for section in sections:
        if body := section(figures):
            lines += ["", *body]
    return "\n".join(lines)


def peak(figures: Figures, precision: str) -> float | None:
    """Return the best median of the matrix products in a precision, in GFLOP/s."""
    found = [
        median * 1e-9
        for variant in variants(("peak",))
        if variant.precision == precision
        and (median := figures.median(variant.key, "product")) is not None
    ]
    return max(found, default=None)


def best(figures: Figures, part: str, measurement: str, role: str) -> tuple[Variant, float] | None:
    """Return the fastest variant of a role and its median rate, in any precision."""
    found = [
        (variant, median)
        for variant in variants((part,))
        if variant.role == role and (median := figures.median(variant.key, measurement)) is not None
    ]
    return max(found, key=lambda pair: pair[1], default=None)


def _goals(figures: Figures) -> list[str]:
    rows = []
    for part, measurement, text, goal in _GOALS:
        ours = best(figures, part, measurement, "ours")
        rival = best(figures, part, measurement, "rival")
        if ours and rival:
            ratio = ours[1] / rival[1]
            result = [f"{ratio:.2f} times", f"{goal:g} times", _met(ratio >= goal)]
            rows.append([text, _named(*ours), _named(*rival), *result])
    if ours := best(figures, "cnn", "train", "ours"):
        share = _share(figures, ours[0], "train", ours[1])
        if share is not None:
            result = [f"{share:.0%}", f"{_PEAK_GOAL:.0%}", _met(share >= _PEAK_GOAL)]
            rows.append(["training the CNN, of the peak", _named(*ours), "", *result])
    columns = ["", "breastus, fastest", "fastest of the others", "", "goal", ""]
    return rows and ["### Goals", "", "Images a second.", "", *table(columns, rows)]


def _named(variant: Variant, median: float) -> str:
    return f"{_number(median)} ({', '.join(filter(None, (variant.name, variant.precision)))})"


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _peak(figures: Figures) -> list[str]:
    rows = [
        [variant.name, variant.precision, _rate(figures, variant, "product", scale=1e-9)]
        for variant in variants(("peak",))
        if variant.key in figures.rounds
    ]
    text = (
        f"The product of two {MATRIX} x {MATRIX} matrices, in GFLOP/s. The faster library in each "
        "precision gives the peak of the tables below."
    )
    columns = ["", "precision", "GFLOP/s"]
    return rows and ["### Peak of the processor", "", text, "", *table(columns, rows)]


def _network(network: str):
    def section(figures: Figures) -> list[str]:
        rows = []
        for variant in variants((network,)):
            if variant.key not in figures.rounds:
                continue
            cells = [variant.name, variant.precision]
            for measurement in ("train", "predict"):
                cells.append(_rate(figures, variant, measurement))
                median = figures.median(variant.key, measurement)
                share = median and _share(figures, variant, measurement, median)
                cells.append(f"{share:.0%}" if share else "")
            rows.append(cells)
        predict = GFLOPS[network]
        text = (
            f"{SIZE} x {SIZE} pixels, batches of {BATCH[network]}, images a second. An image takes "
            f"{predict:.2f} GFLOP in prediction and {TRAINING} times as many, "
            f"{TRAINING * predict:.2f}, in training (AdamW, cross-entropy). {BFLOAT16} is Keras' "
            f"`mixed_bfloat16` and PyTorch's autocast; shares are of the peak in the precision of "
            f"the row ({FLOAT32} or {BFLOAT16})."
        )
        columns = ["", "precision", "training", "of peak", "prediction", "of peak"]
        return rows and [f"### {_NAMES[network]}", "", text, "", *table(columns, rows)]

    return section


def _augmentation(figures: Figures) -> list[str]:
    rows = [
        [variant.name, _rate(figures, variant, "images")]
        for variant in variants(("augmentation",))
        if variant.key in figures.rounds
    ]
    text = (
        f"Grey images of {SIZE} x {SIZE} x 3 a second on one core, in batches of 32: horizontal "
        "flip, one bilinear affine map, multiplicative noise, Gaussian blur, with the ranges of "
        "the policy `study`. The other libraries differ where they lack an operation: the noise of "
        "albumentations is uniform; torchvision fills borders with black and has no multiplicative "
        "noise, so it uses the noise of breastus; both round uint8 images after every step. "
        "breastus works on one channel of a grey image; the row of colour images shows its speed "
        "without that."
    )
    return rows and ["### Augmentation", "", text, "", *table(["", "images/s"], rows)]


def _parts(figures: Figures) -> list[str]:
    rounds = figures.rounds.get("parts | parts", [])
    if not rounds:
        return []
    error = rounds[-1].get("error")
    rows = [["could not run", error]] if error else rounds[-1]["rows"]
    return ["### Parts", "", *table(["", ""], rows)]


def _share(figures: Figures, variant: Variant, measurement: str, rate: float) -> float | None:
    top = peak(figures, variant.precision)
    if top is None:
        return None
    return rate * GFLOPS[variant.part] * (TRAINING if measurement == "train" else 1) / top


def _rate(figures: Figures, variant: Variant, measurement: str, scale: float = 1.0) -> str:
    rates = [scale * rate for rate in figures.rates(variant.key, measurement)]
    if rates:
        low, high = _number(min(rates)), _number(max(rates))
        return f"{_number(statistics.median(rates))} ({low} to {high})"
    error = figures.error(variant.key, measurement) or "not measured"
    return f"could not run: {error}".replace("|", "/")


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
