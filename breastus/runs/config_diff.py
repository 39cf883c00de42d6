"""Whether what is there is what is asked for: two settings in, the differences out.

changed_settings(there, asked)      # ["training.epochs is 20 there and 5 was asked for"]
"""

import os
from collections.abc import Collection

from breastus.config.parsing import join_sources, split_sources
from breastus.config.schema import Config

# How a machine does the work, and not what is worked out: a folder begun on one is taken up on
# another.
OF_THE_MACHINE = (
    "training.profile",
    "training.accumulation_steps",
    "training.xla",
    "training.devices",
    "training.cache_mb",
)
PRECISION = "training.precision"
SOURCE = "data.source"
_NO_PLACES = ("auto", "hub", "phantom")


def changed_settings(there: Config, asked: Config, *, but: Collection[str] = ()) -> list[str]:
    """Return one text a setting that differs; none for what is the machine's.

    Precision counts, as results depend on it; where one side left it to the machine, name it in
    `but`.

    Args:
        there: of what is there.
        asked: what is asked for.
        but: names of settings that may differ as well, as `section.key`.
    """
    asked_for = {key: value for key, _, value in asked.items()}
    return [
        f"{key} is {value} there and {asked_for[key]} was asked for"
        for key, _, value in there.items()
        if key not in OF_THE_MACHINE and key not in but and not _same(key, value, asked_for[key])
    ]


def absolute_source(source: str) -> str:
    """Return `data.source` with places that hold whatever the working folder is."""
    names = split_sources(source)
    return join_sources(name if name in _NO_PLACES else os.path.abspath(name) for name in names)


def _same(key: str, one: object, other: object) -> bool:
    if key == SOURCE:
        return absolute_source(one) == absolute_source(other)
    return one == other
