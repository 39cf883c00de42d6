"""Options that several commands share, and the settings they lead to."""

import argparse
from collections.abc import Mapping
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
