"""`breastus score PREDICTIONS`: score anyone's predictions on a split, and compare baselines."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_out, add_settings, settings

EXAMPLES = (
    "breastus score predictions.csv --data path/to/BUSI                  # on busi-scenes-v1",
    "breastus score runs/compact-cv --data path/to/BUSI                  # trained with --folds 5",
    "breastus score my_predictions.csv --data path/to/images --splits my_split.csv",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS",
        help="a CSV file with the columns image_id (or path, file, sha256) and probability (of a "
        "lump); optional: fold, seed or run, threshold or predicted, label, split_name; or the "
        "folder of `breastus train NETWORK --folds 5`",
    )
    add_data(parser)
    parser.add_argument(
        "--splits",
        type=Path,
        metavar="FILE",
        help="the split that the predictions are for: a file of `breastus splits export`, or a "
        "CSV file with the columns image_id (or path) and fold or split (default: the named split "
        "of --data)",
    )
    parser.add_argument(
        "--name", help="name of the entry on its page (default: the name of the file)"
    )
    add_out(parser, "the page (default: score.html, or the next free score-2.html, ...)")
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="text, or json for all numbers (default: %(default)s)",
    )
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    from breastus.workflows.export_splits import DEFAULTS
    from breastus.workflows.score import score

    report = score(
        args.predictions,
        config=settings(args, DEFAULTS),
        splits=args.splits,
        out=args.out,
        name=args.name,
    )
    if args.format == "json":
        import json

        from breastus.utils.files import jsonable

        print(json.dumps(jsonable({**report.metrics, "page": report.page}), indent=2))
        return 0
    print(report.summary)
    print(f"Page: {report.page} (it shows images of patients: do not publish it)")
    return 0
