"""The command `breastus`: parse, call one function, print, give an exit status.

Status 0: all fine. 1: something failed. 2: wrong usage (an unknown option, setting or model).
"""

import argparse
import importlib
import os
import sys
import warnings

import breastus
from breastus.errors import BreastusError, ConfigError, ModelError

# command: (module with add_arguments(parser) and run(args) -> int, one-line help)
COMMANDS = {
    "doctor": ("breastus.cli.doctor", "say what is installed, what hardware and data are there"),
    "data": ("breastus.cli.data", "prepare, audit or show a data set"),
    "pretrain": (
        "breastus.cli.pretrain",
        "pretrain a network's backbone on phantoms, or on images without their labels",
    ),
    "train": ("breastus.cli.train", "train a network, judge it and export it"),
    "evaluate": ("breastus.cli.evaluate", "judge a run's predictions again"),
    "predict": ("breastus.cli.predict", "say of each image: lump or no lump"),
    "check": ("breastus.cli.check", "the same as an HTML page, with what is unusual"),
    "export": ("breastus.cli.export", "copy a run's bundle to where it is served from"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    warnings.showwarning = _show_warning
    parser = build_parser(argv if argv is not None else sys.argv[1:])
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except (ConfigError, ModelError) as error:
        return _fail(error, 2)
    except (BreastusError, ImportError) as error:
        return _fail(error, 1)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nbreastus: interrupted", file=sys.stderr)
        return 130


def build_parser(argv: list[str]) -> argparse.ArgumentParser:
    """Return the parser; only the command that `argv` names is imported and given its options."""
    parser = argparse.ArgumentParser(
        prog="breastus",
        description=breastus.__doc__.split("\n\n")[0],
        epilog="Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"breastus {breastus.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name in argv:
            implementation = importlib.import_module(module)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    return parser


def _show_warning(message, category, filename, lineno, file=None, line=None):
    if category.__module__.startswith("breastus"):
        print(f"breastus: {message}", file=sys.stderr)
    # Other packages' warnings are about their own insides.


def _fail(error: Exception, status: int) -> int:
    print(f"breastus: error: {error}", file=sys.stderr)
    return status
