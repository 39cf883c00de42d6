"""`breastus settings [NAME...]`: every setting with its default, allowed values and meaning."""

import argparse
import textwrap

from breastus.cli.networks import NETWORKS
from breastus.cli.parser import suggestion
from breastus.config.parsing import SettingInfo, describe_settings
from breastus.config.presets import default_config
from breastus.errors import ConfigError

EXAMPLES = (
    "breastus settings efficientnet_lite0      # all settings, with the defaults of a network",
    "breastus settings training                # a section",
    "breastus settings epochs                  # one setting",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a network, whose defaults are shown (default: cnn), or sections and settings to show "
        "(default: all)",
    )


def run(args: argparse.Namespace) -> int:
    networks = [name for name in args.names if name in NETWORKS]
    if len(networks) > 1:
        raise ConfigError(f"Name one network at a time. Received: {', '.join(networks)}")
    network = networks[0] if networks else "cnn"
    found = describe_settings(default_config(network))
    wanted = [name for name in args.names if name not in NETWORKS]
    for name in wanted:
        if not any(_matches(info.name, name) for info in found):
            known = {part for info in found for part in (info.name, *info.name.split("."))}
            raise ConfigError(
                f"There is no setting, section or network {name}"
                f"{suggestion(name, sorted(known | set(NETWORKS))) or '.'}"
            )
    print(f"Settings and their defaults for {network}. Change one: --set SECTION.KEY=VALUE")
    section = None
    for info in found:
        if wanted and not any(_matches(info.name, name) for name in wanted):
            continue
        if info.name.rpartition(".")[0] != section:
            section = info.name.rpartition(".")[0]
            print()
        print(f"{info.name} = {text_of(info.default)}  ({allowed(info)})")
        print(textwrap.fill(info.help, 88, initial_indent="    ", subsequent_indent="    "))
    return 0


def allowed(info: SettingInfo) -> str:
    """Return the allowed values of a setting as text, such as `a number, 0 to 1`."""
    if info.choices:
        return ", ".join(text_of(choice) for choice in info.choices)
    if info.low is None and info.high is None:
        return info.type
    if info.high is None:
        return f"{info.type}, at least {info.low:g}"
    return f"{info.type}, {info.low:g} to {info.high:g}"


def _matches(full: str, name: str) -> bool:
    section, _, key = full.rpartition(".")
    return name in (full, key) or (section and name == section)


def text_of(value: object) -> str:
    """Return the value of a setting as `--set` takes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value) if value != "" else '""'
