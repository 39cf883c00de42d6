"""YAML files, texts such as `training.epochs=5` and keywords in, checked frozen dataclasses out.

Text is read by the type of its setting, so `training.xla=off` is a choice and `data.source=123` is
text. An unknown name, a wrong type and a value out of range each raise a ConfigError that names the
setting and, where one is close, the name that was probably meant.
"""

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import yaml

from breastus.errors import ConfigError, did_you_mean
from breastus.labels import CLASS_NAMES, FAULTS

# `breastus.data.splits.scheme.register_split_scheme` adds names.
SPLIT_SCHEMES = ["auto", "group", "study", "folders", "kfold"]
SOURCE_SCHEME = "source:"
FOLDS = 5

_SOURCE_SEPARATOR = ";"
_LABEL_SEPARATOR = ","
_NULL = {"null", "none", "~", ""}
_TRUE, _FALSE = {"true", "yes", "on"}, {"false", "no", "off"}
_TYPE_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


# === One setting ===


def setting(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    check: Callable[[str], Any] | None = None,
) -> Any:
    """Declare a setting as a dataclass field.

    `low` and `high` are the smallest and the largest value allowed; `check` raises a ConfigError
    for text that the setting does not allow.
    """
    metadata = {"help": help, "low": low, "high": high, "check": check}
    return dataclasses.field(default=default, metadata=metadata)


class SettingInfo(NamedTuple):
    """Description of one setting."""

    name: str  # full name, such as `training.epochs`
    type: str  # "an integer", "a number", "text", ..., each perhaps followed by " or null"
    default: Any
    choices: tuple[str, ...]  # empty if the setting is not a choice
    low: float | None  # None for no bound
    high: float | None  # None for no bound
    help: str


def parse(text: str, kind: Any) -> Any:
    """Convert text to the type of a setting's field; text that does not fit is kept."""
    kinds = _kinds(kind)
    word = text.strip().lower()
    if types.NoneType in kinds and word in _NULL:
        return None
    if bool in kinds:
        return True if word in _TRUE else False if word in _FALSE else text
    for number in (int, float):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                return text
    return text


def _check(name: str, field: dataclasses.Field, value: Any) -> None:
    """Raise a ConfigError if a value has another type than its field, or is out of range."""
    if choices := _choices(field.type):
        if value not in choices:
            raise ConfigError(
                f"{name} must be one of {', '.join(choices)}.{did_you_mean(value, choices)} "
                f"Received: {value!r}"
            )
        return
    if type(value) not in _kinds(field.type):
        raise ConfigError(f"{name} must be {_type_name(field.type)}. Received: {value!r}")
    if value is None:
        return
    low, high = field.metadata["low"], field.metadata["high"]
    # Written so that NaN, which compares false with everything, is refused as well.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        upper = f" and at most {high}" if high is not None else ""
        raise ConfigError(f"{name} must be at least {low}{upper}. Received: {value}")
    if check := field.metadata["check"]:
        check(value)


def _kinds(kind: Any) -> tuple[type, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _choices(kind: Any) -> tuple[str, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def _type_name(kind: Any) -> str:
    if _choices(kind):
        return "one of several"
    names = [_TYPE_NAMES.get(each, "null") for each in _kinds(kind)]
    return " or ".join(names)


# === A tree of settings ===


class Settings:
    """Base of a frozen dataclass whose fields are settings or sections, which hold settings."""

    def __post_init__(self) -> None:
        for name, field, value in self.items():
            _check(name, field, value)

    def items(self) -> Iterator[tuple[str, dataclasses.Field, Any]]:
        """Yield full name (`section.key`), field and value of each setting."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if dataclasses.is_dataclass(value):
                for inner in dataclasses.fields(value):
                    yield f"{field.name}.{inner.name}", inner, getattr(value, inner.name)
            else:
                yield field.name, field, value

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the settings from nested mappings; names that are missing keep their defaults.

        Raises:
            ConfigError: if a name is unknown or a value is not allowed.
        """
        return cls().replace(values)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike, *, base: Self | None = None) -> Self:
        """Read settings from a YAML file, as `to_yaml` writes it or with a part of the names.

        Args:
            path: the file.
            base: settings that hold for names missing in the file; None takes the defaults.

        Raises:
            ConfigError: if the file cannot be read, a name is unknown or a value is not allowed.
        """
        base = base or cls()
        try:
            text = Path(path).read_text(encoding="utf-8")
            values = yaml.load(text, Loader=_TextLoader) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"The settings file {path} cannot be read: {error}") from error
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"The settings file {path} must hold names and values, such as `seed: 1`. "
                f"Received: {values!r}"
            )
        return base._with_texts(base._flat(values))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries."""
        return dataclasses.asdict(self)

    def to_yaml(self) -> str:
        """Return the settings as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def override(self, assignments: Iterable[str]) -> Self:
        """Return a copy changed by texts such as `training.epochs=5`.

        Raises:
            ConfigError: if a text has no `=`, a name is unknown or a value is not allowed.
        """
        texts = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(
                    "A setting must read section.key=value, such as training.epochs=5. "
                    f"Received: {assignment!r}"
                )
            texts |= self._flat({name.strip(): _unquoted(text)})
        return self._with_texts(texts)

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with some values changed.

        Args:
            changes: nested mappings such as `{"training": {"epochs": 5}}`, or full names such as
                `{"training.epochs": 5}`.

        Raises:
            ConfigError: if a name is unknown or a value is not allowed.
        """
        sections: dict[str, Any] = {}
        own: dict[str, Any] = {}
        fields = {name: field for name, field, _ in self.items()}
        for name, value in self._flat(changes).items():
            if float in _kinds(fields[name].type) and type(value) is int:
                value = float(value)
            section, dot, key = name.rpartition(".")
            (sections.setdefault(section, {}) if dot else own)[key] = value
        for name, values in sections.items():
            own[name] = dataclasses.replace(getattr(self, name), **values)
        return dataclasses.replace(self, **own)

    def replace_by_name(self, **settings: Any) -> Self:
        """Return a copy with settings changed by their short names, such as `epochs=2`.

        A section may be given as a mapping, such as `training={"epochs": 2}`.

        Raises:
            ConfigError: if no setting or several settings have that name, or a value is not
                allowed.
        """
        sections = self._sections()
        return self.replace(
            {
                name if name in sections else self._full_name(name): settings[name]
                for name in settings
            }
        )

    def differences(self, other: Self) -> list[str]:
        """Return one line for each setting that differs in `other`, such as `seed: 0 -> 1`."""
        theirs = {name: value for name, _, value in other.items()}
        return [
            f"{name}: {value} -> {theirs[name]}"
            for name, _, value in self.items()
            if value != theirs[name]
        ]

    def _sections(self) -> list[str]:
        fields = dataclasses.fields(self)
        return [f.name for f in fields if dataclasses.is_dataclass(getattr(self, f.name))]

    def _flat(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return full names to values; names are checked, values are not."""
        known = {name for name, _, _ in self.items()}
        flat: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in self._sections():
                flat[name] = value
            elif isinstance(value, Mapping):
                flat |= {f"{name}.{key}": inner for key, inner in value.items()}
            else:
                example = next(full for full in known if full.startswith(f"{name}."))
                raise ConfigError(
                    f"{name} is a section of settings, such as {example}. Received: {value!r}"
                )
        for name in flat:
            if name not in known:
                raise ConfigError(f"There is no setting {name}. {self._hint(str(name))}")
        return flat

    def _with_texts(self, texts: Mapping[str, Any]) -> Self:
        kinds = {name: field.type for name, field, _ in self.items()}
        return self.replace(
            {
                name: parse(text, kinds[name]) if isinstance(text, str) else text
                for name, text in texts.items()
            }
        )

    def _full_name(self, short: str) -> str:
        found = [name for name, _, _ in self.items() if name.rpartition(".")[2] == short]
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"Several settings are called {short}: {', '.join(found)}. Name the section as "
                f"well, such as {found[0].partition('.')[0]}={{{short!r}: ...}}."
            )
        raise ConfigError(f"There is no setting {short}. {self._hint(short)}")

    def _hint(self, name: str) -> str:
        """Return a sentence with the setting that was probably meant, whatever its section."""
        section, _, key = name.rpartition(".")
        in_section: dict[str, list[str]] = {}
        anywhere: dict[str, list[str]] = {}
        for full, _, _ in self.items():
            own_section, _, own_key = full.rpartition(".")
            anywhere.setdefault(own_key, []).append(full)
            if section and own_section == section:
                in_section[own_key] = [full]
        for candidates in (in_section, anywhere):
            if near := difflib.get_close_matches(key, candidates, n=1):
                return f"Did you mean {' or '.join(candidates[near[0]])}?"
        return "`breastus settings` lists all settings."


class _TextLoader(yaml.BaseLoader):
    """Keeps every scalar as text, to be read by the type of its setting; refuses double names."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise yaml.YAMLError(f"it names {repeated} twice")
        return super().construct_mapping(node, deep)


def describe_settings(config: Settings) -> list[SettingInfo]:
    """Return a description of each setting, in the order of the schema.

    The values of `config`, such as `default_config("compact")`, are reported as the defaults.
    """
    return [
        SettingInfo(
            name=name,
            type=_type_name(field.type),
            default=value,
            choices=_choices(field.type),
            low=field.metadata["low"],
            high=field.metadata["high"],
            help=field.metadata["help"],
        )
        for name, field, value in config.items()
    ]


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


# === Settings that are lists or schemes in one text ===


def join_sources(sources: str | os.PathLike | Iterable[str | os.PathLike]) -> str:
    """Return one or several data sets as one text, such as `A;B`.

    It raises ConfigError if one of several is a path with a semicolon.
    """
    if isinstance(sources, str | os.PathLike):
        return os.fspath(sources)
    names = [os.fspath(source) for source in sources]
    for name in names:
        if _SOURCE_SEPARATOR in name and len(names) > 1 and os.path.exists(name):
            raise ConfigError(
                "A path with a semicolon cannot be one of several data sets, because the semicolon "
                f"separates them. Rename it. Received: {name}"
            )
    return _SOURCE_SEPARATOR.join(names)


def split_sources(sources: str | os.PathLike | Iterable[str | os.PathLike]) -> list[str]:
    """Return the data sets that a text (`A;B`) or a list names, or raise ConfigError.

    A path that exists is never split, whatever its name contains.
    """
    if isinstance(sources, str | os.PathLike):
        text = os.fspath(sources)
        names = [text] if os.path.exists(text) else text.split(_SOURCE_SEPARATOR)
    else:
        names = [os.fspath(source) for source in sources]
    if not (names := [name for name in map(str.strip, names) if name]):
        raise ConfigError(
            "data.source must name a directory, a CSV file, hub, phantom or auto. "
            f"Received: {sources!r}"
        )
    return names


def kept_faults(text: str) -> tuple[str, ...]:
    """Return the kinds of known faults in a text such as `axilla,needle`, or raise ConfigError."""
    kinds = tuple(kind for kind in map(str.strip, text.split(",")) if kind)
    if unknown := [kind for kind in kinds if kind not in FAULTS]:
        raise ConfigError(
            f"data.keep_faults must name kinds of known faults: {', '.join(FAULTS)}."
            f"{did_you_mean(unknown[0], FAULTS)} Received: {unknown[0]!r}"
        )
    return kinds


def class_labels(text: str) -> dict[str, str]:
    """Return the names of classes in a text such as `cancer=lump,healthy=no_lump`.

    It raises ConfigError if a part has no `=`, a label is unknown, or a name has two labels.
    """
    labels: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(_LABEL_SEPARATOR))):
        name, equals, label = map(str.strip, part.rpartition("="))
        if not (equals and name):
            raise ConfigError(
                "data.labels (--labels) must read NAME=LABEL, such as cancer=lump. "
                f"Received: {part!r}"
            )
        if label not in CLASS_NAMES:
            raise ConfigError(
                f"data.labels (--labels) must give {name} one of {', '.join(CLASS_NAMES)}."
                f"{did_you_mean(label, CLASS_NAMES)} Received: {label!r}"
            )
        if labels.setdefault(name, label) != label:
            raise ConfigError(
                f"data.labels (--labels) must give {name} one label. Received: {labels[name]}, "
                f"{label}"
            )
    return labels


def join_labels(labels: str | Mapping[str, str] | Iterable[str]) -> str:
    """Return names of classes as one text, such as `cancer=lump,healthy=no_lump`.

    A mapping of names to labels, or texts such as `cancer=lump`, are joined.
    """
    if isinstance(labels, str):
        return labels
    if isinstance(labels, Mapping):
        labels = [f"{name}={label}" for name, label in labels.items()]
    return _LABEL_SEPARATOR.join(labels)


def check_split(text: str) -> None:
    """Raise ConfigError unless a text is a split scheme; its file or source is looked up later."""
    named = text.startswith(SOURCE_SCHEME) and text != SOURCE_SCHEME
    if text in SPLIT_SCHEMES or named or Path(text).suffix.lower() == ".csv":
        return
    raise ConfigError(
        f"data.split must be one of {', '.join(SPLIT_SCHEMES)}, or {SOURCE_SCHEME}NAME to test on "
        f"the source of that name, or a .csv file with the columns image_id and split."
        f"{did_you_mean(text, (*SPLIT_SCHEMES, SOURCE_SCHEME))} Received: {text!r}"
    )


def check_folds(split: str, fold: int, folds: int, val_rotation: int = 0) -> None:
    """Raise ConfigError unless the fold and the rotation exist, and are set for `kfold` only."""
    if fold >= folds:
        raise ConfigError(
            f"data.fold must be below data.folds={folds}; folds are counted from 0. "
            f"Received: {fold}"
        )
    if val_rotation > folds - 2:
        raise ConfigError(
            f"data.val_rotation must be at most {folds - 2} for data.folds={folds}, because "
            f"one fold is the test part. Received: {val_rotation}"
        )
    if split != "kfold" and (fold, folds, val_rotation) != (0, FOLDS, 0):
        raise ConfigError(
            "data.fold, data.folds and data.val_rotation are for data.split=kfold only. Set that "
            f"too, or remove them. Received: data.split={split}"
        )
