"""`breastus vlm IMAGE... --model NAME`: ask a vision-language model, without any training.

`breastus vlm check FOLDER` checks a checkpoint before it is loaded.
"""

import argparse
import sys
from pathlib import Path

from breastus.cli.images import IMAGES_HELP, image_files
from breastus.cli.options import add_data, add_out, add_settings, settings
from breastus.utils.quiet import import_tensorflow

EXAMPLES = (
    "breastus vlm check path/to/llava-med        # files, memory, licence",
    "breastus vlm image.png --model path/to/llava-med --history history.txt --out vlm.csv",
    "breastus vlm --data path/to/BUSI --model path/to/llava-med --controls --out vlm-busi.csv",
    "breastus vlm --data path/to/BUSI --model path/to/llava-med --probe --shots 5 --out few.csv",
)
CHECK = "check"
_LONGEST_HISTORY = 2**20  # bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help=f"{IMAGES_HELP}; or: {CHECK} FOLDER"
    )
    parser.add_argument(
        "--model",
        help="llava-med, or the folder of a checkpoint in its layout or llava-hf's (default: none)",
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="text file with the clinical history, for all images (default: none)",
    )
    parser.add_argument(
        "--prompts",
        default="phrasings",
        metavar="SET",
        help="phrasings, study, birads, or a YAML file (default: %(default)s)",
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="with --data: compare with blank, noise and swapped images, shuffled labels and the "
        "other order of the options",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="with --data: ask nothing, but fit logistic regression on frozen features of the "
        "vision tower, and test it",
    )
    parser.add_argument(
        "--shots",
        type=int,
        metavar="N",
        help="with --probe: training images of each class (default: all)",
    )
    parser.add_argument(
        "--subtract-blank",
        action="store_true",
        help="subtract the log odds that a blank image gets",
    )
    parser.add_argument(
        "--no-reports",
        action="store_true",
        help="generate no explanation and recommendation, which takes most of the time",
    )
    parser.add_argument(
        "--quantize",
        choices=("none", "int8"),
        default="none",
        help="store the language model in 8 bits (default: %(default)s)",
    )
    parser.add_argument(
        "--tower",
        default="checkpoint",
        metavar="TOWER",
        help="vision tower: checkpoint, clip (the one that the original code loads) or the folder "
        "of a KerasHub preset of CLIP (default: %(default)s)",
    )
    add_data(parser, "instead of images: a data set, as for train (default: none)")
    add_out(parser, "a new CSV file of predictions (default: predictions.csv, or probe.csv)")
    add_settings(parser, "--split", defaults={"--split": "auto"})


def run(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError

    if args.images[:1] == [CHECK]:
        if len(args.images) != 2:
            raise ConfigError(f"Name one checkpoint: breastus vlm {CHECK} FOLDER")
        return _check(args.images[1])
    if not args.model:
        raise ConfigError("Name a model: --model llava-med, or --model FOLDER.")
    if bool(args.images) == bool(args.data):
        raise ConfigError("Give either image files or --data, and not both.")
    for name in ("controls", "probe"):
        if getattr(args, name) and not args.data:
            raise ConfigError(f"--{name} needs --data, because it needs labels.")
    if args.shots is not None and not args.probe:
        raise ConfigError("--shots needs --probe.")
    if args.probe:
        return _probe(args)
    history = _history(args.history) if args.history else None
    files = image_files(args.images)
    import_tensorflow()

    from breastus.vlm.models import build_vlm
    from breastus.workflows.ask_vlm import ask_vlm

    vlm = build_vlm(
        args.model,
        prompts=args.prompts,
        subtract_blank=args.subtract_blank,
        reports=not args.no_reports,
        quantize=args.quantize,
        tower=args.tower,
    )
    report = ask_vlm(
        vlm,
        files,
        history=history,
        controls=args.controls,
        out=args.out or "predictions.csv",
        config=settings(args) if args.data else None,
    )
    for error in report.errors:
        print(f"breastus: error: {error}", file=sys.stderr)
    print(report.summary)
    print(f"Predictions: {report.out}")
    return int(bool(report.errors))


def _check(folder: str) -> int:
    import_tensorflow()  # it knows the GPUs

    from breastus.workflows.check_vlm import check_vlm

    found = check_vlm(folder)
    print(found.summary)
    return int(not found.fits)


def _probe(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError

    asking = ("controls", "history", "subtract_blank", "no_reports")
    if given := [name for name in asking if getattr(args, name)]:
        option = given[0].replace("_", "-")
        raise ConfigError(f"--probe asks nothing, so that --{option} has no effect. Remove one.")

    from breastus.workflows.probe_vlm import probe_vlm

    report = probe_vlm(
        args.model,
        shots=args.shots,
        tower=args.tower,
        out=args.out or "probe.csv",
        config=settings(args),
    )
    print(report.summary)
    print(f"Predictions: {report.out}")
    return 0


def _history(path: Path) -> str:
    from breastus.errors import DataError

    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_HISTORY)
        return content.decode("utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"The history {path} cannot be read: {error.strerror or error}") from error
