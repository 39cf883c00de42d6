"""MkDocs hook that fills markers in the pages with tables from the code and the committed records.

    <!-- results: networks -->          the table of scores of a section of experiments/RESULTS.md
    <!-- results: networks 2 -->        its second table
    <!-- bench: speed -->               the first table of a section of experiments/BENCH.md
    <!-- bench: speed "Swin-T" -->      the table below one of its headings
    <!-- networks -->                   every network in a line
    <!-- settings -->                   every setting with its default
    <!-- study_readings -->             figures and tables of the readings, once they are recorded
    <!-- api: train Predictor -->       the documentation of public names, from their docstrings

An unknown marker stops the build, so that a page cannot lose its numbers unnoticed.
"""

import re
import sys
from pathlib import Path

import breastus
from breastus.cli.networks import NETWORKS
from breastus.cli.settings import allowed, text_of
from breastus.config.parsing import describe_settings
from breastus.config.presets import default_config

ROOT = Path(__file__).parents[1]
RESULTS, BENCH = "experiments/RESULTS.md", "experiments/BENCH.md"
RECORDS = {"results": RESULTS, "bench": BENCH}
_MARKER = re.compile(r"<!-- (results|bench|networks|settings|study_readings|api)(?:: (.+?))? -->")


def on_page_markdown(markdown: str, **_) -> str:
    """Return a page with its markers filled."""
    return _MARKER.sub(lambda marker: _FILLERS[marker[1]](marker[1], marker[2] or ""), markdown)


def section(kind: str, name: str) -> str:
    """Return the text of a section of a record, without its markers.

    Raises:
        ValueError: if the record has no such section.
    """
    text = (ROOT / RECORDS[kind]).read_text(encoding="utf-8")
    found = re.search(rf"<!-- begin {re.escape(name)} -->\n(.*?)<!-- end", text, re.DOTALL)
    if not found:
        raise ValueError(f"{RECORDS[kind]} has no section {name}.")
    return found[1]


def tables(text: str) -> list[str]:
    """Return the tables of a Markdown text."""
    return re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)


def _record(kind: str, argument: str) -> str:
    name, _, which = argument.partition(" ")
    text = section(kind, name)
    if which.startswith('"'):
        heading = which.strip('"')
        _, found, text = text.partition(f"### {heading}\n")
        if not found:
            raise ValueError(f"Section {name} of {RECORDS[kind]} has no heading {heading}.")
        which = ""
    table = tables(text)[int(which or 1) - 1]
    # An interval stays on one line in a narrow column.
    return re.sub(r"\(([-\d.]+) to ([-\d.]+)\)", "(\\1\u00a0to\u00a0\\2)", table)


def _networks(*_) -> str:
    rows = [f"| `{name}` | {line} |" for name, line in NETWORKS.items()]
    return "\n".join(["| network | |", "|---|---|", *rows])


def _study_readings(*_) -> str:
    text = (ROOT / RESULTS).read_text(encoding="utf-8")
    if "<!-- begin study_readings -->" not in text:
        return "No run is recorded yet."
    scores, twins = (_record("results", f"study_readings {number}") for number in (2, 3))
    drawn = _readings_figures()
    parts = [
        drawn.get("seeds", ""),
        "Each reading over its seeds, mean (lowest to highest):",
        scores,
        drawn.get("twins", ""),
        "Correct predictions with and without a twin in training, and the mean ROC-AUC over seeds:",
        twins,
    ]
    return "\n\n".join(filter(None, parts))


def _readings_figures() -> dict[str, str]:
    """Return the figures of the readings as HTML, drawn from the records."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # `mkdocs` does not start in the folder of its script
    from breastus.reporting.figures.style import to_svg
    from experiments import readings
    from experiments.records import read_records
    from experiments.results import by_variant

    name = readings.EXPERIMENT
    drawn = readings.draw_figures(by_variant(name, read_records(name)))
    captions = {
        "seeds": "Sensitivity and specificity of each seed, by reading, with the published value.",
        "twins": "Recall of test images with a twin in training, and of those without, by reading.",
    }
    return {
        name: "".join(
            f'<div role="img" aria-label="{captions[name]}" class="figure {form}">'
            # A blank line would end the element.
            + re.sub(r"\n\s*\n", "\n", to_svg(figure, f"{name}-{form}"))
            + "</div>"
            for form, figure in forms.items()
        )
        for name, forms in drawn.items()
    }


def _settings(*_) -> str:
    lines, last = [], None
    for info in describe_settings(default_config("cnn")):
        part, _, name = info.name.rpartition(".")
        if part != last:
            lines += [f"\n## {part or 'All parts'}\n", "| setting | default | allowed | |"]
            lines.append("|---|---|---|---|")
            last = part
        # A long choice may break between its words.
        values = allowed(info).replace("|", "\\|")
        lines.append(f"| `{name}` | `{text_of(info.default)}` | {values} | {info.help} |")
    return "\n".join(lines)


def _api(_, names: str) -> str:
    return "\n\n".join(f"::: {breastus._PUBLIC[name]}.{name}" for name in names.split())


_FILLERS = {
    "results": _record,
    "bench": _record,
    "networks": _networks,
    "settings": _settings,
    "study_readings": _study_readings,
    "api": _api,
}
