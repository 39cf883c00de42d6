"""Compare stored settings with requested ones: two sets of settings in, their differences out.

config_diff(stored, requested)      # ["training.epochs is 20 there and 5 was asked for"]
"""

import os
from collections.abc import Collection

from breastus.config.parsing import join_sources, split_sources
from breastus.config.schema import Config

# These settings change how a machine computes, not what: a folder begun on one machine is resumed
# on another.
HARDWARE_SETTINGS = (
    "training.profile",
    "training.accumulation_steps",
    "training.xla",
    "training.devices",
    "training.cache_mb",
)
PRECISION = "training.precision"
SOURCE = "data.source"
_NOT_PATHS = ("auto", "hub", "phantom")


def config_diff(stored: Config, requested: Config, *, ignore: Collection[str] = ()) -> list[str]:
    """Return one text for each setting that differs, without `HARDWARE_SETTINGS`.

    Precision counts, because results depend on it. Where one side left it to the hardware, name it
    in `ignore`.

    Args:
        stored: settings in a folder.
        requested: settings that were asked for.
        ignore: names of further settings that may differ, as `section.key`.
    """
    wanted = {name: value for name, _, value in requested.items()}
    return [
        f"{name} is {value} there and {wanted[name]} was asked for"
        for name, _, value in stored.items()
        if name not in HARDWARE_SETTINGS
        and name not in ignore
        and not _same(name, value, wanted[name])
    ]


def absolute_source(source: str) -> str:
    """Return `data.source` with absolute paths, which hold in every working folder."""
    names = split_sources(source)
    return join_sources(name if name in _NOT_PATHS else os.path.abspath(name) for name in names)


def _same(name: str, one: object, other: object) -> bool:
    if name == SOURCE:
        return absolute_source(one) == absolute_source(other)
    return one == other
