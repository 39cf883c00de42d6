"""`breastus export RUN...`: a bundle of one run, of several averaged, or a recalibrated one."""

import argparse
from pathlib import Path

from breastus.cli.options import add_import, add_out
from breastus.cli.quiet import import_tensorflow

EXAMPLES = (
    "breastus export runs/efficientnet_lite0 --out models/lite0",
    "breastus export runs/compact-cv --out models/compact",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_folders",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="a finished run folder; the networks of several, or of a cross-validation, are "
        "averaged; with --recalibrated also a bundle",
    )
    parser.add_argument(
        "--recalibrated",
        type=Path,
        metavar="FOLDER",
        help="recalibrated for another hospital: the report folder of breastus evaluate RUN --data "
        "OTHER --recalibrate N (default: as trained)",
    )
    add_import(parser)
    add_out(parser, "the bundle's folder (default: models/NETWORK, or models/NETWORK-DATA)")


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.deploy.bundle import publish
    from breastus.runs.cross_validation import CrossValidation
    from breastus.runs.run import Run
    from breastus.workflows.ensemble import export_ensemble

    if args.recalibrated:
        return _recalibrated(args)
    runs = []
    for folder in args.run_folders:
        runs += CrossValidation(folder).runs or [Run.load(folder)]
    out = _free(args.out or Path("models", runs[0].config.model.name))
    bundle = publish(runs[0].bundle, out) if len(runs) == 1 else export_ensemble(runs, out)
    print(f"Bundle: {bundle}")
    return 0


def _recalibrated(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError
    from breastus.workflows.model_artifact import ModelArtifact
    from breastus.workflows.recalibrate import export_recalibrated, recalibrated_name

    if len(args.run_folders) > 1:
        raise ConfigError(
            f"--recalibrated takes one run or bundle. Received: {len(args.run_folders)} of them"
        )
    model = ModelArtifact.load(args.run_folders[0])
    out = _free(args.out or Path("models", recalibrated_name(model, args.recalibrated)))
    print(f"Bundle: {export_recalibrated(model, args.recalibrated, out)}")
    return 0


def _free(out: Path) -> Path:
    from breastus.errors import BundleError

    if out.exists():
        raise BundleError(f"{out} exists. Choose another --out, or delete it.")
    return out
