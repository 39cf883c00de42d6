"""`breastus export RUN...`: a run's bundle, that of several together, or one recalibrated."""

import argparse
from pathlib import Path

from breastus.cli.options import add_out
from breastus.cli.quiet import import_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_folders",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="a finished run folder; of several, or of a cross-validation's folder, the networks "
        "are averaged",
    )
    parser.add_argument(
        "--recalibrated",
        type=Path,
        metavar="FOLDER",
        help="as recalibrated for another hospital: the folder of breastus evaluate RUN --data "
        "OTHER --recalibrate N",
    )
    add_out(parser, "the bundle's folder (default: models/<model>, or models/<model>-<data set>)")


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.cross_validation import CrossValidation
    from breastus.deploy.export import publish
    from breastus.ensembling import export_ensemble
    from breastus.errors import BundleError, ConfigError
    from breastus.recalibrating import export_recalibrated, recalibrated_name
    from breastus.training.run import Run

    runs = []
    for folder in args.run_folders:
        runs += CrossValidation(folder).runs or [Run.load(folder)]
    name = runs[0].config.model.name
    if args.recalibrated:
        if len(runs) > 1:
            raise ConfigError(
                "--recalibrated is of one run, whose probabilities were recalibrated. "
                f"Received: {len(runs)} runs"
            )
        name = recalibrated_name(runs[0], args.recalibrated)
    out = args.out or Path("models", name)
    if out.exists():
        raise BundleError(f"{out} exists. Choose another --out, or delete it.")
    if args.recalibrated:
        bundle = export_recalibrated(runs[0], args.recalibrated, out)
    else:
        bundle = publish(runs[0].bundle, out) if len(runs) == 1 else export_ensemble(runs, out)
    print(f"Bundle: {bundle}")
    return 0
