"""`breastus export RUN... --out FOLDER`: a run's bundle, or that of several runs together."""

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
    add_out(parser, "the bundle's folder (default: models/<model>)")


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.cross_validation import CrossValidation
    from breastus.deploy.export import publish
    from breastus.ensembling import export_ensemble
    from breastus.errors import BundleError
    from breastus.training.run import Run

    runs = []
    for folder in args.run_folders:
        runs += CrossValidation(folder).runs or [Run.load(folder)]
    out = args.out or Path("models", runs[0].config.model.name)
    if out.exists():
        raise BundleError(f"{out} exists. Choose another --out, or delete it.")
    bundle = publish(runs[0].bundle, out) if len(runs) == 1 else export_ensemble(runs, out)
    print(f"Bundle: {bundle}")
    return 0
