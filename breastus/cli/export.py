"""`breastus export RUN...`: a bundle of one run, of several averaged, or a recalibrated one."""

import argparse
from pathlib import Path

from breastus.cli.options import add_import, add_out
from breastus.utils.quiet import import_tensorflow

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

    from breastus.workflows.export import export

    print(f"Bundle: {export(args.run_folders, out=args.out, recalibrated=args.recalibrated)}")
    return 0
