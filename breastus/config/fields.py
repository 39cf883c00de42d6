"""Settings with a grammar of their own: which data, what of it is kept, how it is split.

data.source        one or several data sets, `BUSI;BUS-UCLM`
data.keep_faults   kinds of known faults that stay in, `axilla,needle`
data.split         a scheme of SPLIT_SCHEMES, `source:NAME`, or a file that ends in .csv
data.fold          of data.folds, with `kfold` alone, as data.turn
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from breastus.errors import ConfigError
from breastus.labels import FAULTS

SPLIT_SCHEMES = ("auto", "group", "study", "given", "kfold")
SOURCE_SCHEME = "source:"
FOLDS = 5

_BETWEEN_SOURCES = ";"


def join_sources(where: str | os.PathLike | Iterable[str | os.PathLike]) -> str:
    """Return one text for what may be one data set or several."""
    several = [where] if isinstance(where, str | os.PathLike) else where
    return _BETWEEN_SOURCES.join(os.fspath(place) for place in several)


def split_sources(where: str | os.PathLike | Iterable[str | os.PathLike]) -> list[str]:
    """Return the data sets that a text or a list names, `A;B` as A and B.

    A path that exists is never cut, whatever is in its name.

    Raises:
        ConfigError: when none is named.
    """
    if isinstance(where, str | os.PathLike):
        text = os.fspath(where)
        names = [text] if os.path.exists(text) else text.split(_BETWEEN_SOURCES)
    else:
        names = [os.fspath(place) for place in where]
    if not (names := [name for name in map(str.strip, names) if name]):
        raise ConfigError(
            f"data.source must name a directory, a CSV file, hub, phantom or auto. "
            f"Received: {where!r}"
        )
    return names


def kept_faults(text: str) -> tuple[str, ...]:
    """Return the kinds of known faults that a text such as `axilla,needle` names.

    Raises:
        ConfigError: when one of them is not of `breastus.labels.FAULTS`.
    """
    kinds = tuple(kind for kind in map(str.strip, text.split(",")) if kind)
    if unknown := [kind for kind in kinds if kind not in FAULTS]:
        raise ConfigError(
            f"data.keep_faults must name kinds of known faults: {', '.join(FAULTS)}."
            f"{_near(unknown[0], FAULTS)} Received: {unknown[0]!r}"
        )
    return kinds


def check_split(text: str) -> None:
    """See that a text is a way to split; whether its file or source is there is seen later.

    Raises:
        ConfigError: when it is none.
    """
    named = text.startswith(SOURCE_SCHEME) and text != SOURCE_SCHEME
    if text in SPLIT_SCHEMES or named or Path(text).suffix.lower() == ".csv":
        return
    raise ConfigError(
        f"data.split must be one of {', '.join(SPLIT_SCHEMES)}, or {SOURCE_SCHEME}NAME to test on "
        f"the source of that name, or a .csv file with the columns image_id and split."
        f"{_near(text, (*SPLIT_SCHEMES, SOURCE_SCHEME))} Received: {text!r}"
    )


def check_folds(split: str, fold: int, folds: int, turn: int = 0) -> None:
    """See that fold and turn are there, and only changed where they mean something.

    Raises:
        ConfigError: when not.
    """
    if fold >= folds:
        raise ConfigError(
            f"data.fold must be below data.folds={folds}: the first is 0. Received: {fold}"
        )
    if turn > folds - 2:
        raise ConfigError(
            f"data.turn must be below {folds - 1}, how many of data.folds={folds} are not test: "
            f"the first is 0. Received: {turn}"
        )
    if split != "kfold" and (fold, folds, turn) != (0, FOLDS, 0):
        raise ConfigError(
            "data.fold, data.folds and data.turn are of data.split=kfold alone. Set that, or leave "
            f"them. Received: data.split={split}"
        )


def _near(text: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(text, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""
