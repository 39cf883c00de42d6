"""The best recipe known here: how good it is, inside and at another hospital, and its bundle.

    python -m experiments.best --data path/to/BUSI --outside path/to/bus_uclm_sample

Five folds by scene, known faults left out; each fold's validation part chooses epoch, calibration
and threshold, and its test part is scored. All networks are then averaged into one bundle, which is
what is judged on the other hospital's images: with the calibration and the threshold that travel
with it. Into `runs/best/`; folds that are finished are kept, one that was killed is taken up.

EfficientNet-Lite0, 1 and 2 keep ImageNet's weights, frozen: a few hundred images from one hospital
teach a network that hospital. What is learned are 140 thousand weights that look at their maps of
strides 8, 16 and 32 cell by cell (`efficientnet_trio`), taught by lesion masks and by labels alike.
Images are 384 pixels and not squashed, so that small lumps are seen and round ones stay round; in
training they are zoomed from 0.55 to 1.25, turned, shadowed and given other gain curves and speckle
(augmentation `ultrasound`), as hospitals set their scanners; prediction averages over the mirror
image.

Backbone frozen, cells rather than the mean of the map, zoom: these three were chosen by trials on
folds of BUSI and of BUS-UCLM's sample, of which the scores outside are therefore no clean test
any more. Three backbones rather than one were chosen by the validation parts of the folds.
Calibration was changed from a temperature to Platt's after one fold's test part had shown a large
error, which even class weights explain; the calibration error inside flatters by as much as that
saw. Epochs and views follow from what they cost; the rest was set once.
"""

import argparse
import ast
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.config import Config, DataConfig
from breastus.data.manifest import included, load_manifest
from breastus.errors import BreastusError, DataError
from breastus.evaluation.arrays import UndefinedMetricWarning
from breastus.evaluation.decision import decide
from breastus.evaluation.pooled import mean_metrics
from breastus.evaluation.predictions import read_predictions
from breastus.labels import LABELS
from breastus.models.recipes import default_config
from breastus.training.environment import describe_hardware
from experiments.results import write_between
from experiments.score_table import header, row

if TYPE_CHECKING:
    from breastus.cross_validation import CrossValidation
    from breastus.training.run import Run

HERE = Path(__file__).parent
NETWORK, FOLDS, REPEATS = "efficientnet_trio", 5, 1
EPOCHS = 50
SETTINGS = {
    "preprocessing": {"aspect": "keep"},
    "model": {"image_size": 384, "weights": "imagenet"},
    "augmentation": {"policy": "ultrasound"},
    "training": {
        "epochs": EPOCHS,
        "head_epochs": EPOCHS,
        "kept_views": 6,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "weight_decay": 0.02,
        "class_weights": "balanced",
        "mask_weight": 3.0,
    },
    # Classes that count alike in the loss shift the logits, which a temperature cannot undo.
    "evaluation": {"tta": "flip", "calibration": "platt"},
}
# Settings of `evaluation` that need no training: what else the validation images could decide.
RULES = {
    "youden, as the recipe has it": {},
    "sensitivity of 0.90 shown": {"threshold_rule": "sensitivity", "target_sensitivity": 0.9},
    "sensitivity of 0.95 shown": {"threshold_rule": "sensitivity", "target_sensitivity": 0.95},
    "cost, a miss as bad as 9 alarms": {"threshold_rule": "cost", "cost_ratio": 9.0},
}


def recipe() -> Config:
    """Return the settings, without data and seed."""
    return default_config(NETWORK).replace(SETTINGS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--outside", type=Path, help="another hospital's images: judge the bundle")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"default: {FOLDS}")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"default: {REPEATS}")
    parser.add_argument("--out", type=Path, default=Path("runs", "best"), help="of the folds")
    parser.add_argument("--publish", type=Path, help="put the bundle here, such as models/best")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting"
    )
    parser.add_argument("--results", type=Path, help="write this section into RESULTS.md as well")
    parser.add_argument("--readme", type=Path, help="write the scores alone into README.md")
    args = parser.parse_args()
    import_tensorflow()

    from breastus.cross_validation import cross_validate
    from breastus.ensembling import export_ensemble
    from breastus.evaluation.cross_validation_report import sentence

    result = cross_validate(
        NETWORK,
        data=args.data,
        out=args.out,
        config=recipe().override(args.set),
        folds=args.folds,
        repeats=args.repeats,
    )
    print(sentence(result.metrics), flush=True)
    bundle = export_ensemble(result.runs, args.publish or args.out / "bundle")
    print(f"Bundle: {bundle}", flush=True)
    if args.outside or args.results or args.readme:
        elsewhere = judge_outside(bundle, args.outside) if args.outside else None
        text = section(result, elsewhere)
        print(text)
        if args.results:
            write_between(args.results, "best", text)
        if args.readme:
            write_between(args.readme, "best", "\n".join(scores_table(result, elsewhere)))


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
    found = []
    for number, path in enumerate(rows["path"], start=1):
        found.append(predictor(path))
        print(f"\rOutside: image {number} of {len(rows)}", end="", flush=True)
    print()
    return rows[["image_id", "patient_id", "group_id", "finding", "label"]].assign(
        split="test",
        probability=[prediction.probability for prediction in found],
        predicted=[prediction.label for prediction in found],
        threshold=predictor.threshold,
    )


def section(result: "CrossValidation", elsewhere: pd.DataFrame | None) -> str:
    """Return the part of RESULTS.md."""
    title, _, rest = ast.get_docstring(ast.parse(Path(__file__).read_text("utf-8"))).partition("\n")
    environment, metrics = result.runs[0].environment, result.metrics
    # Of a run that was killed and taken up nobody knows how long it took in all.
    minutes = [run.environment["seconds_in_all"] or np.nan for run in result.runs]
    minutes = np.array(minutes, float) / 60
    lines = [
        f"## {title}",
        "",
        "```",
        *rest.strip("\n").splitlines(),
        "```",
        "",
        "- Command: `python -m experiments.best --data ... --outside ...`",
        f"- Machine: {describe_hardware(environment['hardware'])}",
        f"- Time: {np.nanmedian(minutes):.1f} minutes a fold with everything (median; "
        f"{np.nanmin(minutes):.1f} to {np.nanmax(minutes):.1f}), in "
        f"{result.runs[0].config.training.precision}",
        "",
        f"95 % intervals by bootstrap over scenes (BUSI) and patients. Inside: "
        f"{metrics['n'][0]} images of {metrics['n_groups']} scenes, pooled over "
        f"{metrics['folds']} folds, {metrics['repeats']} times.",
        "",
        *scores_table(result, elsewhere),
    ]
    if elsewhere is not None:
        threshold = elsewhere["threshold"][0]
        lump, called = elsewhere["label"] == LABELS[1], elsewhere["predicted"] == LABELS[1]
        lines += [
            "",
            f"Outside: {len(elsewhere)} images of {elsewhere['patient_id'].nunique()} patients, "
            f"called a lump from the bundle's threshold, {threshold:.3f}: {(lump & called).sum()} "
            f"of {lump.sum()} lumps found, {(~lump & ~called).sum()} of {(~lump).sum()} images "
            "without one cleared.",
        ]
    return "\n".join([*lines, "", *other_rules(result.runs, elsewhere)])


def scores_table(result: "CrossValidation", elsewhere: pd.DataFrame | None) -> list[str]:
    """Return the lines of a table: the scores inside and, if it was judged there, outside."""
    rows = [row("inside, out of fold", result.metrics)]
    if elsewhere is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            rows.append(row("outside, the bundle", mean_metrics([elsewhere])))
    return [*header(), *rows]


def other_rules(runs: Sequence["Run"], elsewhere: pd.DataFrame | None) -> list[str]:
    """Return the lines of a table: thresholds by other rules, on the same predictions."""
    from breastus.ensembling import mean_predictions

    lines = [
        "The threshold by other rules, chosen by the same validation images: inside by those of "
        "each fold, outside by all of them, as the bundle's is.",
        "",
        *header("threshold"),
    ]
    for name, changes in RULES.items():
        folds: dict[int, list[pd.DataFrame]] = {}
        thresholds = []
        for run in runs:
            settings = run.config.replace({"evaluation": changes}).evaluation
            validation = read_predictions(run.file("predictions_val.csv"))
            decision = decide(validation, settings, seed=run.config.seed)
            test = decision.apply(read_predictions(run.file("predictions_test.csv")))
            folds.setdefault(run.config.seed, []).append(test)
            thresholds.append(decision.threshold)
        pooled = [pd.concat(parts, ignore_index=True) for parts in folds.values()]
        between = f"{min(thresholds):.2f} to {max(thresholds):.2f}"
        lines.append(row(f"{name}: inside", mean_metrics(pooled), between))
        if elsewhere is not None:
            config = runs[0].config
            settings = config.replace({"evaluation": changes}).evaluation
            decision = decide(mean_predictions(runs, "val"), settings, seed=config.seed)
            called = (elsewhere["probability"] >= decision.threshold).astype(int)
            table = elsewhere.assign(
                threshold=decision.threshold, predicted=np.array(LABELS)[called]
            )
            lines.append(
                row(f"{name}: outside", mean_metrics([table]), f"{decision.threshold:.2f}")
            )
    return lines


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
