"""Options that several commands share, and the settings they add up to."""

import argparse
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

from breastus.config.parsing import join_sources
from breastus.config.schema import Config


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--seed`, `--config` and `--set`."""
    parser.add_argument("--seed", type=int, help="decides every random choice (default: 0)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one setting; may be given several times",
    )


def add_data(
    parser: argparse.ArgumentParser,
    help: str = "a directory, a CSV file, hub, phantom or auto (default: auto); several times for "
    "several data sets",
) -> None:
    """Add `--data`."""
    parser.add_argument("--data", action="append", help=help)


def add_out(parser: argparse.ArgumentParser, help: str) -> None:
    """Add `--out`."""
    parser.add_argument("--out", type=Path, help=help)


def free_name(stem: str, files: Callable[[Path], Iterable[Path]] = lambda page: (page,)) -> Path:
    """Return `STEM.html`, or the first of `STEM-2.html`, ... whose `files` do not exist yet."""
    names = (Path(f"{stem}.html" if n == 1 else f"{stem}-{n}.html") for n in count(1))
    return next(name for name in names if not any(file.exists() for file in files(name)))


def settings(args: argparse.Namespace, base: Config | None = None) -> Config:
    """Return the settings: the base, then `--config`, `--set`, `--data` and `--seed`."""
    config = base or Config()
    if args.config:
        config = Config.from_yaml(args.config, base=config)
    config = config.override(args.set)
    if args.data is not None:
        config = config.replace({"data": {"source": join_sources(args.data)}})
    if args.seed is not None:
        config = config.replace({"seed": args.seed})
    return config
