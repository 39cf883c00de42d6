"""Frozen dataclasses within each other as a tree of settings: described, built, checked, walked.

    epochs: int = setting(20, "passes over the training images", 1)

`breastus.config.schema` holds the settings themselves.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, Literal

from breastus.errors import ConfigError


def setting(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    check: Callable[[str], Any] | None = None,
) -> Any:
    """Describe a setting: its range, or for a text the function that refuses an impossible one."""
    metadata = {"help": help, "low": low, "high": high, "check": check}
    return field(default=default, metadata=metadata)


def merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with the changes in their places."""
    result = dict(values)
    for name, change in changes.items():
        both = isinstance(change, Mapping) and isinstance(values.get(name), dict)
        result[name] = merged(values[name], change) if both else change
    return result


def walk(config: Any, prefix: str = "") -> Iterable[tuple[str, dataclasses.Field, Any]]:
    """Yield the name (`section.key`), the field and the value of each setting."""
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if dataclasses.is_dataclass(value):
            yield from walk(value, f"{prefix}{spec.name}.")
        else:
            yield prefix + spec.name, spec, value


def build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    """Build a tree of dataclasses from nested values.

    Raises:
        ConfigError: for a name that is none, with the nearest that is, or a value that is no
            section.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{prefix.rstrip('.')} is a section: it holds names and values. Received: {values!r}"
        )
    specs = {spec.name: spec for spec in dataclasses.fields(cls)}
    arguments = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in specs:
            near = difflib.get_close_matches(str(name), specs, n=1)
            hint = f"Did you mean {prefix}{near[0]}? " if near else ""
            raise ConfigError(
                f"There is no setting {key}. {hint}"
                f"Known here: {', '.join(prefix + known for known in specs)}"
            )
        kind = typing.get_type_hints(cls)[name]
        if dataclasses.is_dataclass(kind):
            arguments[name] = build(kind, value, f"{key}.")
        else:
            arguments[name] = _coerce(kind, value)
    return cls(**arguments)


def _coerce(kind: Any, value: Any) -> Any:
    if float in _types(kind):
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str):  # YAML reads 1e-3 as text: its floats need a dot
            try:
                return float(value)
            except ValueError:
                return value
    return value


def check(key: str, spec: dataclasses.Field, value: Any) -> None:
    """Raise a ConfigError when a value has another type than its field, or is out of range."""
    kind = spec.type
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"{key} must be one of {', '.join(choices)}. Received: {value!r}")
        return
    if type(value) not in _types(kind):
        names = " or ".join("null" if t is types.NoneType else t.__name__ for t in _types(kind))
        raise ConfigError(f"{key} must be of type {names}. Received: {value!r}")
    if value is None:
        return
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    # Written so that NaN, which compares false with everything, is refused as well.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        upper = "" if high is None else f" and at most {high}"
        raise ConfigError(f"{key} must be at least {low}{upper}. Received: {value}")
    if refuse := spec.metadata.get("check"):
        refuse(value)


def _types(kind: Any) -> tuple[type, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
