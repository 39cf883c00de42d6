"""The argument parser of every command: errors suggest close matches, help ends with examples."""

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from breastus.errors import did_you_mean

_INVALID_CHOICE = re.compile(r"invalid choice: '?(?P<given>[^']+?)'? \(choose from (?P<known>.+)\)")
_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (?P<given>--[\w-]+)")


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose subcommands refuse unknown options themselves, with a suggestion.

    Args:
        examples: command lines for the end of the help text.
        **options: arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: Iterable[str] = (), **options: Any):
        options.setdefault("formatter_class", _Formatter)
        super().__init__(**options)
        if lines := [f"  {example}" for example in examples]:
            self.epilog = "\n".join(["examples:" if len(lines) > 1 else "example:", *lines])

    def parse_known_args(self, args=None, namespace=None):
        """Parse, and exit with status 2 at an unknown argument instead of returning it."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        """Print usage, the message and the closest known word; exit with status 2."""
        if found := _INVALID_CHOICE.search(message):
            message += suggestion(found["given"], re.findall(r"[\w.-]+", found["known"]))
        elif found := _UNKNOWN_OPTION.match(message):
            message += suggestion(found["given"], re.findall(r"--[\w-]+", self.format_help()))
        super().error(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `. Did you mean X?` for the known word closest to `word`, or an empty string."""
    hint = did_you_mean(word, known)
    return f".{hint}" if hint else ""
