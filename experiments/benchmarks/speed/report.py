"""Write the results of a benchmark as a page: goals first, then every variant."""

import statistics

from experiments.benchmarks.speed.flops import gflops
from experiments.benchmarks.speed.results import Results
from experiments.benchmarks.speed.variants import BATCH, MATRIX, NETWORKS, SIZE, Variant, variants

_NAMES = {"cnn": "The study's CNN", "swin": "Swin-T"}
# What breastus wants to be, as a multiple of the best of the others in any precision.
_GOALS = (
    ("cnn", "train", "training the CNN", 3.0),
    ("cnn", "predict", "prediction of the CNN", 2.0),
    ("swin", "train", "training Swin-T", 1.2),
    ("swin", "predict", "prediction of Swin-T", 1.2),
    ("augmentation", "images", "augmentation, per core", 3.0),
)
_PEAK_GOAL = 0.75  # of the processor's peak, in training the CNN


def page(results: Results, command: str) -> str:
    """Return the section of BENCH.md that is about speed.

    Args:
        results: what was measured.
        command: the command that measured it last.
    """
    where = results.where
    packages = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    lines = [
        "## Speed",
        "",
        f"`{command}`",
        "",
        f"{where['machine']}; {packages}",
        "",
        "Each variant ran in a process of its own, with all cores where nothing else is said, in "
        "rounds, one variant after the other. Given is the median of all repeats, warm-up left "
        f"out, with the lowest and the highest in brackets. {_drift(results)}All figures are in "
        "records/speed.json.",
    ]
    for section in (_goals, _peak, *(_network(network) for network in NETWORKS), _augmentation):
        if body := section(results):
            lines += ["", *body]
    if rows := _parts(results):
        lines += ["", "### Parts", "", "| | |", "|---|---|", *rows]
    return "\n".join(lines)


def _drift(results: Results) -> str:
    drift = results.drift()
    if drift is None:
        return ""
    return f"The medians of a variant's rounds differ by up to {drift:.0%}. "


def peak(results: Results, precision: str) -> float | None:
    """Return the best median of the matrix products in a precision, in GFLOP/s."""
    found = [
        median * 1e-9
        for variant in variants(("peak",))
        if variant.precision == precision
        and (median := results.median(variant.key, "product")) is not None
    ]
    return max(found, default=None)


def best(results: Results, part: str, measurement: str, role: str) -> tuple[Variant, float] | None:
    """Return the fastest variant of a role and its median rate, whatever its precision."""
    found = [
        (variant, median)
        for variant in variants((part,))
        if variant.role == role and (median := results.median(variant.key, measurement)) is not None
    ]
    return max(found, key=lambda pair: pair[1], default=None)


def _goals(results: Results) -> list[str]:
    rows = []
    for part, measurement, text, goal in _GOALS:
        ours = best(results, part, measurement, "ours")
        rival = best(results, part, measurement, "rival")
        if ours and rival:
            ratio = ours[1] / rival[1]
            rows.append(
                f"| {text} | {_named(*ours)} | {_named(*rival)} | {ratio:.2f} times | "
                f"{goal:g} times | {_met(ratio >= goal)} |"
            )
    if ours := best(results, "cnn", "train", "ours"):
        share = _share(results, ours[0], "train", ours[1])
        if share is not None:
            rows.append(
                f"| training the CNN, of the peak | {_named(*ours)} | | {share:.0%} | "
                f"{_PEAK_GOAL:.0%} | {_met(share >= _PEAK_GOAL)} |"
            )
    if not rows:
        return []
    head = "| | breastus, fastest | fastest of the others | | goal | |"
    return ["### Goals", "", "Images a second.", "", head, "|---|---|---|---|---|---|", *rows]


def _named(variant: Variant, median: float) -> str:
    how = ", ".join(filter(None, (variant.name, variant.precision)))
    return f"{_number(median)} ({how})"


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _peak(results: Results) -> list[str]:
    rows = []
    for variant in variants(("peak",)):
        if variant.key in results.rounds:
            gigaflops = _rate(results, variant, "product", scale=1e-9)
            rows.append(f"| {variant.name} | {variant.precision} | {gigaflops} |")
    if not rows:
        return []
    text = (
        f"The product of two {MATRIX} x {MATRIX} matrices, in GFLOP/s. The better of each "
        "precision is the peak that shares are of; a variant's share is of the peak of its own "
        "precision."
    )
    head = ["| | precision | GFLOP/s |", "|---|---|---|"]
    return ["### The processor's peak", "", text, "", *head, *rows]


def _network(network: str):
    def section(results: Results) -> list[str]:
        rows = []
        for variant in variants((network,)):
            if variant.key not in results.rounds:
                continue
            cells = [variant.name, variant.precision]
            for measurement in ("train", "predict"):
                cells.append(_rate(results, variant, measurement))
                median = results.median(variant.key, measurement)
                share = median and _share(results, variant, measurement, median)
                cells.append(f"{share:.0%}" if share else "")
            rows.append(f"| {' | '.join(cells)} |")
        if not rows:
            return []
        train, predict = (gflops(network, SIZE, training=mode) for mode in (True, False))
        text = (
            f"{SIZE} x {SIZE} pixels, batches of {BATCH[network]}, images a second. An image takes "
            f"{predict:.2f} GFLOP in prediction and three times as many, {train:.2f}, in training "
            "(AdamW, cross-entropy); bfloat16 is Keras' `mixed_bfloat16` and PyTorch's autocast."
        )
        head = "| | precision | training | of peak | prediction | of peak |"
        return [f"### {_NAMES[network]}", "", text, "", head, "|---|---|---|---|---|---|", *rows]

    return section


def _augmentation(results: Results) -> list[str]:
    rows = [
        f"| {variant.name} | {_rate(results, variant, 'images')} |"
        for variant in variants(("augmentation",))
        if variant.key in results.rounds
    ]
    if not rows:
        return []
    text = (
        f"Grey images of {SIZE} x {SIZE} x 3 a second on one core, in batches of 32: horizontal "
        "flip, one bilinear affine map, multiplicative noise, Gaussian blur, with the ranges of "
        "the policy `study`. The others differ where they cannot do the same: albumentations' "
        "noise is uniform, torchvision fills borders with black and has no multiplicative noise, "
        "so that it is given ours, and both round uint8 images after every step. breastus works on "
        "one channel of a grey image; a row shows what it does without that."
    )
    return ["### Augmentation", "", text, "", "| | images/s |", "|---|---|", *rows]


def _parts(results: Results) -> list[str]:
    rounds = results.rounds.get("parts | parts", [])
    if not rounds:
        return []
    if said := rounds[-1].get("error"):
        return [f"| could not run | {said} |"]
    return [f"| {name} | {value} |" for name, value in rounds[-1]["rows"]]


def _share(results: Results, variant: Variant, measurement: str, rate: float) -> float | None:
    top = peak(results, variant.precision)
    if top is None:
        return None
    return rate * gflops(variant.part, SIZE, training=measurement == "train") / top


def _rate(results: Results, variant: Variant, measurement: str, scale: float = 1.0) -> str:
    rates = [scale * rate for rate in results.rates(variant.key, measurement)]
    if rates:
        low, high = _number(min(rates)), _number(max(rates))
        return f"{_number(statistics.median(rates))} ({low} to {high})"
    said = results.error(variant.key, measurement) or "not measured"
    return f"could not run: {said}".replace("|", "/")


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
