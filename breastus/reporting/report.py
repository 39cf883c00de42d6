"""The report of a run: one HTML file that opens with the answer in words."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from breastus.evaluation.metrics.metrics import METRICS
from breastus.reporting.decision_section import section as use_section
from breastus.reporting.result_sentence import sentence
from breastus.reporting.shortcuts_section import shortcuts_section
from breastus.reporting.subgroups_section import subgroups_section
from breastus.utils.files import write_text
from breastus.utils.html import page, picture, table

_WIDE = ("history", "subgroups")  # figures drawn across the page
_TITLES = {"test": "test", "val": "validation"}
HIDDEN = ("recall", "recall_no_lump")  # other names of sensitivity and specificity


def write_report(
    path: str | os.PathLike,
    *,
    metrics: dict[str, Any],
    config: dict[str, Any],
    environment: dict[str, Any],
    notices: list[str],
    data_summary: str,
    worst: list[tuple[str, bytes, str]],
    figures: dict[str, Path],
    title: str | None = None,
    lead: Sequence[str] = (),
    sections: Sequence[str] = (),
) -> None:
    """Write report.html, self-contained.

    Args:
        path: the file.
        metrics: as from `breastus.workflows.evaluate.evaluate_run`.
        config: the experiment's settings.
        environment: the run's environment.json.
        notices: texts that must not be overlooked.
        data_summary: what the manifest holds, in words.
        worst: (image id, PNG bytes, text) of the errors the model was surest of.
        figures: caption to PNG file.
        title: of the page; None names the model.
        lead: sentences that follow the answer on top.
        sections: HTML of further parts, each with a heading of its own.
    """
    name = config["model"]["name"]
    pictures = list(figures.items())
    drawn = "".join(
        picture(file, caption, caption, css="wide" if file.stem in _WIDE else "")
        for caption, file in pictures
    )
    errors = "".join(
        picture(png, f"{title}: {text}", f"{title} — {text}") for title, png, text in worst
    )
    answer = "".join(f"<p>{escape(text)}</p>" for text in (sentence(metrics), *lead))
    body = (
        f'<p class="soft">{escape(_subtitle(config, environment))}</p>'
        f'<div class="answer">{answer}</div>'
        f"<h2>Scores</h2>{_scores(metrics)}"
        f"{use_section(metrics)}{subgroups_section(metrics['subgroups'])}"
        f"{shortcuts_section(metrics['shortcuts']) if 'shortcuts' in metrics else ''}"
        f"{''.join(sections)}"
        f'<h2>Figures</h2><div class="grid">{drawn}</div>'
        f"<h2>The errors it was surest of</h2>"
        + (f'<div class="tiles">{errors}</div>' if errors else "<p>None on the test images.</p>")
        + f"<h2>Data</h2><pre>{escape(data_summary)}</pre>"
        f"<h2>How to read the scores</h2>{glossary()}"
        f"<h2>Settings and machine</h2><pre>{escape(listing(config))}</pre>"
        f"<pre>{escape(listing(environment))}</pre>"
    )
    write_text(path, page(title or f"Lump or no lump: the model “{name}”", body, notices=notices))


def _scores(metrics: dict[str, Any]) -> str:
    study = metrics["study"]
    # Of images from elsewhere there is no validation part.
    parts = {title: metrics[s] for s, title in _TITLES.items() if s in metrics}
    level = f"{100 * metrics['confidence']:.0f} %"
    header = ["", *(f"{title} ({level} interval)" for title in parts)]
    rows = []
    for name, metric in METRICS.items():
        if name in HIDDEN:
            continue
        row = [metric.title, *(cell(part[name]) for part in parts.values())]
        if study:
            row.append(cell(study[name]) if name in study else "not given")
        rows.append(row)
    counts = [f"{part['n']} in {part['n_groups']} groups" for part in parts.values()]
    first = ["Images", *counts]
    if study:
        header.append(study["title"])
        first.append(f"{study['n']}")
    note = (
        f"Intervals: {metrics['interval']}; {metrics['resamples']} resamples. An image is called "
        f"lump from a probability of {metrics['threshold']:.3g}. PPV and NPV are for a prevalence "
        f"of {metrics['prevalence']:g}, not that of these images. The validation images chose the "
        "epoch, calibration and threshold, so their scores flatter; the test images chose nothing. "
        "“No spread”: alike in every resample, which does not make it certain."
    )
    if study:
        note += (
            " The study's row is from its own split, drawn image by image, so near-duplicates can "
            "lie in training and test; the two columns were not measured on the same images. Its "
            "intervals are Wilson's, computed here from its confusion matrix."
        )
    return table(header, [first, *rows]) + f'<p class="soft">{escape(note)}</p>'


def cell(entry: dict[str, float]) -> str:
    """Return a value with its interval, or that it has none, as text."""
    value, low, high = entry["value"], entry["ci_low"], entry["ci_high"]
    if value is None or value != value:
        return "undefined"
    if low is None or low != low:
        return f"{value:.2f}"
    if low == high:
        return f"{value:.2f}  (no spread)"
    return f"{value:.2f}  ({low:.2f} to {high:.2f})"


def glossary() -> str:
    """Return what each metric means, HTML."""
    items = "".join(
        f"<li><b>{escape(metric.title)}</b>: {escape(metric.meaning)}.</li>"
        for metric in METRICS.values()
    )
    return f"<p>Lump is the positive class.</p><ul>{items}</ul>"


def _subtitle(config: dict[str, Any], environment: dict[str, Any]) -> str:
    colors = {"plain": "plain grey levels", "parula": "PARULA pseudo-colour"}
    return (
        f"{config['model']['image_size']} pixels, {colors[config['preprocessing']['color']]}, seed "
        f"{config['seed']}, data fingerprint {environment['data_fingerprint'][:12]}"
    )


def listing(values: dict[str, Any], indent: str = "") -> str:
    """Return nested values as indented lines."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", listing(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)
