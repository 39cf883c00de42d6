"""`breastus export RUN...`: a bundle of one run, of several averaged, or a recalibrated one.

With --format it also holds graphs for ONNX Runtime and LiteRT.
"""

import argparse
from pathlib import Path

from breastus.cli.options import add_import, add_out
from breastus.utils.quiet import import_tensorflow

EXAMPLES = (
    "breastus export runs/efficientnet_lite0 --out models/lite0",
    "breastus export runs/compact-cv --out models/compact",
    "breastus export runs/compact --out models/light --format onnx,litert",
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
    parser.add_argument(
        "--format",
        default="saved_model",
        metavar="FORMATS",
        help="saved_model (with model.keras), keras, onnx or litert; several with commas. A graph "
        "in onnx or litert is compared with the SavedModel on images (default: %(default)s)",
    )
    add_import(parser)
    add_out(parser, "the bundle's folder (default: models/NETWORK, or models/NETWORK-DATA)")


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.deploy.bundle import Bundle
    from breastus.workflows.export import export

    formats = [name.strip() for name in args.format.split(",")]
    out = export(args.run_folders, out=args.out, recalibrated=args.recalibrated, formats=formats)
    for runtime, found in Bundle.load(out).metadata.get("runtimes", {}).items():
        print(
            f"{runtime}: {found['file']} differs from the SavedModel by at most "
            f"{found['largest_difference']:.1g} on {found['images']} images with P(lump) from "
            f"{found['lowest']:.3f} to {found['highest']:.3f}"
        )
    print(f"Bundle: {out}")
    return 0
