"""Write what experiments gave into RESULTS.md and README.md, from run folders alone.

    python -m experiments.results                 # all of runs/<experiment>/<variant>-<seed>/

First the records of finished runs (settings, environment, history, metrics, predictions; no images
and no weights) are copied to `experiments/records/`, where they stay; the tables are then written
from all records, so that an experiment can be run in several sittings.

Of each variant: the mean over its seeds, with a 95 % interval over scenes (patients), DeLong's of
the ROC-AUC and by bootstrap of the rest, as in
`breastus.evaluation.intervals.repeated_metrics`. Below stands every run by itself. An
experiment of which there are no runs keeps its section.
"""

import argparse
import re
import shutil
from pathlib import Path

from breastus.config.parsing import join_sources, split_sources
from breastus.errors import RunError
from breastus.runs.report_folder import METRICS_FILE
from breastus.runs.run import CONFIG_FILE, ENVIRONMENT_FILE, Run
from breastus.utils.files import write_json, write_text
from experiments.pages import HERE, RESULTS, ROOT, run_script, write_section
from experiments.run_tables import means_table, section

RECORDS = HERE / "records"
KEPT = (METRICS_FILE, "history.csv", "predictions_val.csv", "predictions_test.csv")
# Experiments that README.md shows as well.
README = ("study", "networks", "leakage", "shortcuts")
# With whose variants an experiment's are compared, each with which, and how those are called.
COMPARED_WITH = {
    "precision": ("networks", lambda variant: variant, "float32"),
    "pretraining": ("precision", lambda variant: variant.rpartition("-")[0], "random weights"),
    "ablation": (
        "ablation",
        lambda variant: "cnn" if variant.startswith("cnn") else "base",
        "what each is compared with",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="default: runs")
    args = parser.parse_args()

    for folder in sorted(args.runs.glob("*")):
        if _has_variants(folder.name):
            keep_records(folder)
    found = {folder.name: read_variants(folder) for folder in sorted(RECORDS.glob("*"))}
    if not found:
        raise RunError(f"{args.runs} holds no finished runs of an experiment. Run one first.")
    for name, variants in found.items():
        others, what = compared(name, found)
        text = section(name, variants, compared_with=others, what=what)
        write_section(RESULTS, name, text)
        print(f"experiments/RESULTS.md: {name}, {sum(map(len, variants.values()))} runs")
    for name in README:
        if name not in found:
            continue
        write_section(ROOT / "README.md", name, means_table(name, found[name]))
        print(f"README.md: {name}")


def compared(name: str, found: dict[str, dict[str, list[Run]]]) -> tuple[dict[str, list[Run]], str]:
    """Return what an experiment's variants are compared with, by their names, and its own name.

    Args:
        name: the experiment's.
        found: experiment to variant to runs.
    """
    if name not in COMPARED_WITH:
        return {}, ""
    experiment, base_of, what = COMPARED_WITH[name]
    bases = found.get(experiment, {})
    return {
        variant: bases[base_of(variant)]
        for variant in found[name]
        if base_of(variant) in bases and (experiment, base_of(variant)) != (name, variant)
    }, what


def keep_records(folder: Path) -> None:
    """Copy what the tables need of an experiment's finished runs to its folder of records."""
    for path in folder.glob("*-*"):
        if not Run(path).finished:
            continue
        record = RECORDS / folder.name / path.name
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir(parents=True)
        for name in KEPT:
            shutil.copy(path / name, record / name)
        # Where the images lay on that machine is nobody's business.
        config = Run(path).config
        names = [Path(place).name for place in split_sources(config.data.source)]
        source = config.replace({"data": {"source": join_sources(names)}})
        environment = dict(Run(path).environment)
        if environment.get("pretraining"):
            weights = Path(config.model.weights).name
            source = source.replace({"model": {"weights": weights}})
            environment["weights"] = {**environment["weights"], "weights": weights}
        write_text(record / CONFIG_FILE, source.to_yaml())
        # Which variants a command was limited to changes none of its runs.
        command = re.sub(r" --only( (?!-)\S+)+| --missing\b", "", environment["command"])
        environment["command"] = without_folders(command)
        write_json(record / ENVIRONMENT_FILE, environment)


def without_folders(command: str) -> str:
    """Return a command line without where things lay on the machine that it ran on."""
    return re.sub(r"(?<= )/\S*/", "", re.sub(r"--data \S+", "--data ...", command))


def read_variants(folder: Path) -> dict[str, list[Run]]:
    """Return an experiment's recorded runs by variant, in order of names and seeds.

    Raises:
        RunError: when the seeds of a variant were trained with different settings.
    """
    variants: dict[str, list[Run]] = {}
    runs = [Run(path) for path in folder.glob("*-*")]
    for run in sorted(runs, key=lambda run: (_variant(run), run.config.seed)):
        variants.setdefault(_variant(run), []).append(run)
    for name, (first, *others) in variants.items():
        for other in others:
            if different := _different(first, other):
                raise RunError(
                    f"{folder.name}/{name}: the seeds of a variant must have the same settings. "
                    f"Received: {different[0]} that differs between seeds {first.config.seed} and "
                    f"{other.config.seed}. Run all seeds alike, and remove the others' records."
                )
    return variants


def _different(one: Run, other: Run) -> list[str]:
    """Return the settings in which two runs of a variant differ and must not."""
    ours, theirs = one.config.to_dict(), other.config.to_dict()
    return [
        f"{section}.{key}"
        for section, settings in ours.items()
        if isinstance(settings, dict)
        for key in settings
        # Where the images and weights lay, and what the machine was measured to do best.
        if (section, key)
        not in {("data", "source"), ("model", "weights"), ("training", "precision")}
        and settings[key] != theirs[section][key]
    ]


def _has_variants(name: str) -> bool:
    # best.py writes its own section, of folds.
    recipe = HERE / "recipes" / f"{name}.py"
    return recipe.is_file() and "\nVARIANTS = {" in recipe.read_text(encoding="utf-8")


def _variant(run: Run) -> str:
    return run.path.name.rpartition("-")[0]


if __name__ == "__main__":
    run_script(main)
