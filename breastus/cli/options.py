"""Options that several commands share, and the settings and image files they lead to."""

import argparse
import glob
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from breastus.config.parsing import join_labels, join_sources
from breastus.config.schema import Config

# option: (setting, metavar, help)
SHORTCUTS = {
    "--epochs": ("training.epochs", "N", "passes over the training images"),
    "--batch-size": ("training.batch_size", "N", "images a weight update"),
    "--learning-rate": ("training.learning_rate", "RATE", "peak learning rate"),
    "--image-size": ("model.image_size", "PIXELS", "side of the square network input"),
    "--weights": ("model.weights", "WEIGHTS", "auto, imagenet, null, or a folder of pretrain"),
    "--color": ("preprocessing.color", "COLOR", "plain or parula"),
    "--split": ("data.split", "SCHEME", "auto, group, kfold, study, source:NAME or a CSV file"),
}
DATA_HELP = (
    "a directory, a CSV file, hub, phantom or auto; may be given several times (default: auto)"
)
MODEL_AND_IMAGES_HELP = (
    "image files, folders or quoted patterns such as 'scans/*.png'; masks in folders are skipped. "
    "Before them a bundle or run folder, such as models/cnn (default: models/busi, which ships "
    "with the repository)"
)


def add_settings(
    parser: argparse.ArgumentParser, *shortcuts: str, defaults: Mapping[str, str] | None = None
) -> None:
    """Add `--seed`, `--config`, `--set`, `--import`, and the named shortcuts for single settings.

    Args:
        parser: parser of a command.
        *shortcuts: options of `SHORTCUTS`.
        defaults: option to the default that its help states; the others depend on the network.
    """
    group = parser.add_argument_group(
        "settings", "`breastus settings` lists and explains all of them."
    )
    for option in shortcuts:
        name, metavar, help = SHORTCUTS[option]
        default = (defaults or {}).get(option, "by network")
        group.add_argument(
            option,
            action="append",
            dest="set",
            default=[],
            type=f"{name}={{}}".format,
            metavar=metavar,
            help=f"{help}; short for --set {name}=... (default: {default})",
        )
    group.add_argument("--seed", type=int, help="seed of every random choice (default: 0)")
    group.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file of settings (default: none)"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one setting; may be given several times (default: none)",
    )
    add_import(group)


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add `--import`."""
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="imports",
        metavar="MODULE",
        help="import a module or .py file that registers networks, losses, callbacks or data "
        "sources of your own; may be given several times (default: none)",
    )


def add_data(parser: argparse.ArgumentParser, help: str = DATA_HELP) -> None:
    """Add `--data` and `--labels`."""
    parser.add_argument("--data", action="append", help=help)
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="NAME=LABEL",
        help="what names of class folders or labels in a table mean, such as cancer=lump "
        "healthy=no_lump (default: lump, no_lump, benign, malignant and normal are known)",
    )


def add_out(parser: argparse.ArgumentParser, help: str) -> None:
    """Add `--out`."""
    parser.add_argument("--out", type=Path, help=help)


def settings(args: argparse.Namespace, base: Config | None = None) -> Config:
    """Return the settings: the base, then `--config`, `--set`, `--data`, `--labels`, `--seed`."""
    config = base or Config()
    if args.config:
        config = Config.from_yaml(args.config, base=config)
    config = config.override(args.set)
    if args.data is not None:
        config = config.replace({"data": {"source": join_sources(args.data)}})
    if args.labels:
        config = config.replace({"data": {"labels": join_labels(args.labels)}})
    if args.seed is not None:
        config = config.replace({"seed": args.seed})
    return config


def model_and_images(arguments: Sequence[str]) -> tuple[Path, list[Path]]:
    """Return the model and the image files that `[MODEL] IMAGE...` names.

    The first argument is the model if it is a bundle, a run or a cross-validation, or if it does
    not exist and is not called like a file. Otherwise the model is the one that ships.

    Raises:
        BundleError: when no model is named and none ships.
        DataError: as for `image_files`.
    """
    from breastus.deploy.bundle import is_model, shipped_bundle

    first, *others = arguments or ("",)
    if first and (is_model(first) or not (Path(first).exists() or Path(first).suffix)):
        return Path(first), image_files(others)
    return shipped_bundle(), image_files(arguments)


def image_files(arguments: Iterable[str]) -> list[Path]:
    """Return the image files that command-line arguments name.

    Args:
        arguments: files, folders and glob patterns. A folder means all images below it, without
            lesion masks (by name or content) and other files, which are printed. A file that
            exists is never read as a pattern, and a name that matches nothing is kept, so that
            the prediction reports it.

    Raises:
        DataError: when a folder holds no image or cannot be read.
    """
    files = []
    for argument in arguments:
        path = Path(argument)
        if path.exists() or not glob.has_magic(argument):
            matches = [path]
        else:
            matches = [Path(name) for name in sorted(glob.glob(argument, recursive=True))] or [path]
        for match in matches:
            files += _images_below(match) if match.is_dir() else [match]
    return files


def _images_below(folder: Path) -> list[Path]:
    """Return the images below a folder, and print which files are skipped.

    Raises:
        DataError: when the folder holds no image or cannot be read.
    """
    from breastus.data.sources.class_folders import is_mask
    from breastus.data.sources.file_tree import walk
    from breastus.data.sources.mask_pairs import find_masks
    from breastus.errors import DataError

    tree = walk(folder)
    found = find_masks(folder, tree.images, fits=lambda file, image: True)
    masks = [
        file
        for file in tree.images
        if is_mask(file.stem) or file in found.masks or file in found.cutouts
    ]
    if len(masks) == len(tree.images):
        raise DataError(
            f"{folder} holds no image{' but lesion masks' if masks else ''}. Name image files, or "
            "a folder that holds some."
        )
    for files, what in ((masks, "lesion masks or cut-out lesions"), (tree.others, "no images")):
        if files:
            print(
                f"breastus: {folder}: {len(files)} left out as {what}, such as {files[0].name}",
                file=sys.stderr,
            )
    return [file for file in tree.images if file not in set(masks)]
