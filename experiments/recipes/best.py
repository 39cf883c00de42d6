"""The best recipe known here: how good it is, inside and at another hospital, and its bundle.

    python -m experiments.recipes.best --data path/to/BUSI --outside path/to/bus_uclm_sample

Five folds by scene, known faults left out. A fold has four networks: each validates on another one
of the four folds that are not its test part, and learns from the other three. Their mean is scored
on the test part; their validation parts, which are all other images, decide calibration and
threshold together. All networks are then averaged into one bundle, which is what is judged on the
other hospital's images: with the calibration and the threshold that travel with it. Into
`runs/best/`; runs that are finished are kept, one that was killed is taken up.

EfficientNet-Lite0 keeps ImageNet's weights, frozen: a few hundred images from one hospital teach a
network that hospital. What is learned is a small head that looks at its maps of strides 8, 16 and
32 cell by cell (`efficientnet_mil`), as they are and relative to their image, taught by lesion
masks and by labels alike. Images are 384 pixels and not squashed, so that small lumps are seen and
round ones stay round; in training they are zoomed from 0.55 to 1.25, turned, shadowed and given
other gain curves and speckle (augmentation `ultrasound`), as hospitals set their scanners;
prediction averages over the mirror image.

Backbone frozen, cells rather than the mean of the map, zoom: these three were chosen by trials on
folds of BUSI and of BUS-UCLM's sample, of which the scores outside are therefore no clean test
any more. Class weights add a known number to the log odds, which is taken back before a temperature
is fitted, and the threshold is the share of lumps (`likelihood`), not searched for. Platt's
calibration and Youden's threshold, used before, follow twenty images without a lump too closely;
trials on the validation parts of the folds spoke against them. They were made because calibrated
scores, pooled over folds, had ordered the test images worse than raw ones; the scores inside
flatter by what that saw. Epochs and views follow from what they cost; the rest was set once.

Four networks a fold instead of one (`--val-rotations 1`) came later, not by scores: so all
images but the tested ones are learned from, and decide. The scores of one network a fold had been
seen by then. Inside they were lower, outside a little higher, by less than ten patients can tell
apart. A seed
and augmented views of its own for each of the four take nearly twice as long; they were tried, gave
the same ROC-AUC to two digits inside and outside, and were given up.

That cells are seen relative to their image as well as they are came last. With one network a fold,
seeing them as they are, relative alone, centred alone and in both ways were tried. On the
validation parts these lay close together, both ways first. Outside all three new ones were better
than the old, relative alone the best, which inside was the second worst; these scores had been seen
when both ways were chosen. With four networks a fold, both ways then came out slightly lower inside
than cells as they are had, on the validation parts too, and higher outside; each within the
interval of the other.

Tried and given up: predictions averaged over other gain, shifts or zoom, by networks that saw cells
as they are, which changed the scores inside and outside little; and more images to learn from, with
lesions pasted into images without one and erased from others by tissue of those, which (on four of
the folds, with fewer views and epochs, cells as they are) made the scores outside better and those
inside worse by more.

`--network efficientnet_mil_ensemble` does the same upon EfficientNet-Lite0, 1 and 2 side by side,
which take nearly four times the operations, into `runs/best-efficientnet_mil_ensemble/` and a
section of its own. Its cells are seen only as they are. When those of the recipe were too, the two
did alike on the validation parts with one network a fold, so that the cheaper one is the recipe;
all scores of both had been seen by then.
"""

import argparse
import ast
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.config.presets import default_config
from breastus.config.schema import Config, DataConfig
from breastus.data.manifest.build import included, load_manifest
from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.intervals.repeated_metrics import mean_metrics
from breastus.evaluation.metrics.ranking import roc_auc
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import LABELS
from breastus.runs.environment import describe_hardware
from experiments.new_hospital import recalibrated
from experiments.pages import run_script, score_row, score_table, write_section

if TYPE_CHECKING:
    from breastus.runs.cross_validation import CrossValidation

NETWORK, FOLDS, REPEATS, VAL_ROTATIONS = "efficientnet_mil", 5, 1, 4
VIEWS = {NETWORK: 10, "efficientnet_mil_ensemble": 6}  # kept of each image, by what they cost
EPOCHS = 50
SETTINGS = {
    "preprocessing": {"aspect": "keep"},
    "model": {"image_size": 384, "weights": "imagenet"},
    "augmentation": {"policy": "ultrasound"},
    "training": {
        "epochs": EPOCHS,
        "head_epochs": EPOCHS,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "weight_decay": 0.02,
        "class_weights": "balanced",
        "mask_weight": 3.0,
    },
    "evaluation": {"tta": "flip", "threshold_rule": "likelihood"},
}
# Settings of `evaluation` that need no training: what else the validation images could decide.
RULES = {
    "likelihood, as the recipe has it": {},
    "youden": {"threshold_rule": "youden"},
    "sensitivity of 0.90 shown": {"threshold_rule": "sensitivity", "target_sensitivity": 0.9},
    "sensitivity of 0.95 shown": {"threshold_rule": "sensitivity", "target_sensitivity": 0.95},
    # At a prevalence of 0.1, for which costs are meant, 9 alarms would weigh as Youden has it.
    "cost, a miss as bad as 30 alarms": {"threshold_rule": "cost", "cost_ratio": 30.0},
}


def recipe(network: str = NETWORK) -> Config:
    """Return the settings, without data and seed."""
    views = {"training": {"cached_views": VIEWS[network]}}
    return default_config(network).replace(SETTINGS).replace(views)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--outside", type=Path, help="another hospital's images: judge the bundle")
    parser.add_argument(
        "--network", choices=list(VIEWS), default=NETWORK, help=f"default: {NETWORK}"
    )
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"default: {FOLDS}")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"default: {REPEATS}")
    parser.add_argument(
        "--val-rotations",
        type=int,
        help=f"networks a fold (default: {VAL_ROTATIONS}, or what the folds allow)",
    )
    parser.add_argument("--out", type=Path, help="of the folds (default: runs/best)")
    parser.add_argument("--publish", type=Path, help="put the bundle here, such as models/best")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting"
    )
    parser.add_argument("--results", type=Path, help="write this section into RESULTS.md as well")
    parser.add_argument("--readme", type=Path, help="write the scores alone into README.md")
    args = parser.parse_args()
    name = "best" if args.network == NETWORK else f"best-{args.network}"
    out = args.out or Path("runs", name)
    import_tensorflow()

    from breastus.reporting.texts import verdict
    from breastus.workflows.cross_validate import cross_validate
    from breastus.workflows.ensemble import export_ensemble

    result = cross_validate(
        args.network,
        data=args.data,
        out=out,
        config=recipe(args.network).override(args.set),
        folds=args.folds,
        repeats=args.repeats,
        val_rotations=min(VAL_ROTATIONS, args.folds - 1)
        if args.val_rotations is None
        else args.val_rotations,
    )
    print(verdict(result.metrics), flush=True)
    bundle = export_ensemble(result.runs, args.publish or out / "bundle")
    print(f"Bundle: {bundle}", flush=True)
    if args.outside or args.results or args.readme:
        elsewhere = judge_outside(bundle, args.outside) if args.outside else None
        text = section(result, elsewhere)
        print(text)
        if args.results:
            write_section(args.results, name, text)
        if args.readme:
            write_section(args.readme, name, "\n".join(scores_table(result, elsewhere)))


def judge_outside(bundle: Path, data: Path) -> pd.DataFrame:
    """Return what a bundle makes of another hospital's images, as a table of predictions.

    Raises:
        DataError: when it has seen one of them.
    """
    from breastus.deploy.predictor import Predictor

    predictor = Predictor(bundle)
    rows = included(load_manifest(str(data), settings=DataConfig())).reset_index(drop=True)
    if any(seen := [predictor.has_seen(sha) for sha in rows["sha256"]]):
        raise DataError(f"{data}: the bundle was trained on {sum(seen)} of these images.")
    found = [predictor(path) for path in tqdm(rows["path"], desc="outside", disable=None)]
    return rows[["image_id", "patient_id", "group_id", "finding", "label"]].assign(
        split="test",
        probability=[prediction.probability for prediction in found],
        predicted=[prediction.label for prediction in found],
        threshold=predictor.threshold,
    )


def section(result: "CrossValidation", elsewhere: pd.DataFrame | None) -> str:
    """Return the part of RESULTS.md."""
    environment, metrics = result.runs[0].environment, result.metrics
    network = result.runs[0].config.model.name
    # Of a run that was killed and taken up nobody knows how long it took in all.
    seconds = [
        [run.environment["seconds_in_all"] or np.nan for run in runs] for runs in result.folds
    ]
    minutes = np.array(seconds, float).sum(axis=1) / 60
    option = "" if network == NETWORK else f" --network {network}"
    val_rotations = metrics["val_rotations"]
    if val_rotations != min(VAL_ROTATIONS, metrics["folds"] - 1):
        option += f" --val-rotations {val_rotations}"
    lines = [
        *introduction(network, val_rotations),
        "",
        f"- Command: `python -m experiments.recipes.best --data ... --outside ...{option}`",
        f"- Machine: {describe_hardware(environment['hardware'])}",
        f"- Time: {np.nanmedian(minutes):.1f} minutes a fold with everything (median; "
        f"{np.nanmin(minutes):.1f} to {np.nanmax(minutes):.1f}), in "
        f"{result.runs[0].config.training.precision}",
        "",
        f"95 % intervals over scenes (BUSI) and patients: of the ROC-AUC DeLong's, of the rest by "
        f"bootstrap. Inside: "
        f"{metrics['n'][0]} images of {metrics['n_groups']} scenes, pooled over "
        f"{metrics['folds']} folds{_times(metrics['repeats'])}.",
        "",
        *scores_table(result, elsewhere),
        "",
        folds_apart(result),
    ]
    if elsewhere is not None:
        threshold = elsewhere["threshold"][0]
        lump, called = elsewhere["label"] == LABELS[1], elsewhere["predicted"] == LABELS[1]
        lines += [
            "",
            f"Outside: {len(elsewhere)} images of {elsewhere['patient_id'].nunique()} patients of "
            f"BUS-UCLM ({', '.join(sorted(set(elsewhere['patient_id'])))}), called a lump "
            f"from the bundle's threshold, {threshold:.3f}: {(lump & called).sum()} "
            f"of {lump.sum()} lumps found, {(~lump & ~called).sum()} of {(~lump).sum()} images "
            "without one cleared.",
        ]
    lines += ["", *other_rules(result, elsewhere)]
    if elsewhere is not None:
        lines += ["", *recalibrated(elsewhere, result.runs[0].config.evaluation)]
    return "\n".join(lines)


def introduction(network: str, val_rotations: int) -> list[str]:
    """Return title and text: of the recipe what stands above, of another network only which."""
    title, _, rest = ast.get_docstring(ast.parse(Path(__file__).read_text("utf-8"))).partition("\n")
    if network != NETWORK:
        kept = (
            f"Of each image {VIEWS[network]} views are kept, not {VIEWS[NETWORK]}, by what they "
            f"cost; a fold has {val_rotations} network{'s' * (val_rotations > 1)}. "
            "All else is as above."
        )
        return [f"## The best recipe, with `{network}`", "", kept]
    return [f"## {title}", "", "```", *rest.strip("\n").splitlines(), "```"]


def folds_apart(result: "CrossValidation") -> str:
    """Return the mean ROC-AUC of the folds by themselves, in a sentence or two.

    Pooled, scores of different networks are put in one order, which calibration has to make fit.
    """
    from breastus.workflows.cross_validate import fold_predictions

    single = {
        split: np.mean([run.metrics[split]["roc_auc"]["value"] for run in result.runs])
        for split in ("val", "test")
    }
    text = (
        f"Of each network by itself the ROC-AUC is {single['test']:.3f} on its test part (mean), "
        f"and {single['val']:.3f} on its validation part, by which its epoch was chosen."
    )
    if result.metrics["val_rotations"] == 1:
        return text
    folds = [fold_predictions(runs, runs[0].config.evaluation) for runs in result.folds]
    together = np.mean([roc_auc(*truth_and_probability(table)) for table in folds])
    return (
        f"{text} Of each fold's {result.metrics['val_rotations']} networks together it is "
        f"{together:.3f} "
        "(mean over folds)."
    )


def _times(repeats: int) -> str:
    return f", with {repeats} seeds" if repeats > 1 else ""


def scores_table(result: "CrossValidation", elsewhere: pd.DataFrame | None) -> list[str]:
    """Return the lines of a table: the scores inside and, if it was judged there, outside."""
    rows = [score_row("inside, out of fold", result.metrics)]
    if elsewhere is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            rows.append(score_row("outside, the bundle", mean_metrics([elsewhere])))
    return [*score_table(), *rows]


def other_rules(result: "CrossValidation", elsewhere: pd.DataFrame | None) -> list[str]:
    """Return the lines of a table: thresholds by other rules, on the same predictions."""
    from breastus.workflows.cross_validate import fold_predictions
    from breastus.workflows.pooled_decision import fit_pooled_decision

    lines = [
        "The threshold by other rules, chosen by the same validation images: inside by those of "
        "each fold, outside by all of them, as the bundle's is.",
        "",
        *score_table("threshold"),
    ]
    for name, changes in RULES.items():
        settings = result.runs[0].config.replace({"evaluation": changes}).evaluation
        repeats: dict[int, list[pd.DataFrame]] = {}
        for runs in result.folds:
            repeats.setdefault(runs[0].config.seed, []).append(fold_predictions(runs, settings))
        pooled = [pd.concat(folds, ignore_index=True) for folds in repeats.values()]
        thresholds = pd.concat(pooled)["threshold"]
        between = f"{thresholds.min():.2f} to {thresholds.max():.2f}"
        lines.append(score_row(f"{name}: inside", mean_metrics(pooled), between))
        if elsewhere is not None:
            decision = fit_pooled_decision(result.runs, settings)
            called = (elsewhere["probability"] >= decision.threshold).astype(int)
            table = elsewhere.assign(
                threshold=decision.threshold, predicted=np.array(LABELS)[called]
            )
            lines.append(
                score_row(f"{name}: outside", mean_metrics([table]), f"{decision.threshold:.2f}")
            )
    return lines


if __name__ == "__main__":
    run_script(main)
