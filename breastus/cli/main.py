"""The command `breastus`: parse, call one workflow, print, return an exit status.

Status 0: everything succeeded. 1: something failed. 2: wrong usage (an unknown option, setting or
network).
"""

import importlib
import importlib.util
import os
import sys
import warnings

import breastus
from breastus.cli.parser import Parser
from breastus.errors import BreastusError, ConfigError, ModelError
from breastus.utils.plugins import import_modules
from breastus.utils.quiet import import_tensorflow

# command: (module with EXAMPLES, add_arguments(parser) and run(args) -> int, one-line help)
COMMANDS = {
    "train": ("breastus.cli.train", "train a network, evaluate it and export it as a bundle"),
    "predict": ("breastus.cli.predict", "predict lump or no lump for images"),
    "check": ("breastus.cli.check", "write an HTML page with predictions and what is unusual"),
    "demo": ("breastus.cli.demo", "serve a web page that answers for images, on this machine"),
    "explain": ("breastus.cli.explain", "measure lesion maps, or draw them on images"),
    "evaluate": ("breastus.cli.evaluate", "evaluate again, on other images, or against a run"),
    "vlm": ("breastus.cli.vlm", "ask a vision-language model about images, without training"),
    "score": ("breastus.cli.score", "score anyone's predictions, and compare them with baselines"),
    "splits": ("breastus.cli.splits", "export folds that anyone can train on"),
    "export": ("breastus.cli.export", "write a run, or several averaged, as a bundle to serve"),
    "data": ("breastus.cli.data", "prepare, audit or show a data set"),
    "pretrain": ("breastus.cli.pretrain", "pretrain a backbone on phantoms or unlabelled images"),
    "settings": ("breastus.cli.settings", "list and explain the settings"),
    "doctor": ("breastus.cli.doctor", "show versions, hardware and data, and what to change"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    warnings.showwarning = _show_warning
    if hasattr(sys.stdout, "reconfigure"):
        # A name that the terminal's encoding lacks is escaped; by default printing it would fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else argv
    try:
        parser = build_parser(argv)
        if not argv:
            parser.print_help(sys.stderr)
            return 2
        args = parser.parse_args(argv)
        if names := getattr(args, "imports", []):
            import_tensorflow()  # quietly, before a module of the user imports it
            import_modules(names)
        return args.run(args)
    except (ConfigError, ModelError) as error:
        return _fail(error, 2)
    except ModuleNotFoundError as error:
        if importlib.util.find_spec("tensorflow") is None:
            error = f"{error}. Only predict works with breastus-runtime: pip install breastus"
        return _fail(error, 1)
    except (BreastusError, ImportError) as error:
        return _fail(error, 1)
    except BrokenPipeError:
        # A reader such as `head` closed the pipe; Python would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nbreastus: interrupted", file=sys.stderr)
        return 130


def build_parser(argv: list[str]) -> Parser:
    """Return the parser; only the command that `argv` names is imported and given its options."""
    parser = Parser(
        prog="breastus",
        description="Find lumps in breast ultrasound images, and report how far each score can be "
        "trusted.\nResearch software, not a medical device.",
        examples=(
            "breastus train efficientnet_lite0 --data path/to/BUSI --publish models/lite0",
            "breastus predict models/lite0 image.png",
            "breastus COMMAND --help",
        ),
    )
    parser.add_argument("--version", action="version", version=f"breastus {breastus.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        loaded = importlib.import_module(module) if name in argv else None
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            examples=loaded.EXAMPLES if loaded else (),
        )
        if loaded:
            loaded.add_arguments(command)
            command.set_defaults(run=loaded.run)
    return parser


def _show_warning(message, category, filename, lineno, file=None, line=None):
    if category.__module__.startswith("breastus"):
        print(f"breastus: {message}", file=sys.stderr)
    # Warnings of other packages concern their own internals.


def _fail(error: Exception | str, status: int) -> int:
    print(f"breastus: error: {error}", file=sys.stderr)
    return status
