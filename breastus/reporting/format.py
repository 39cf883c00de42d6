"""Format values for pages, cards and messages: numbers, intervals and counts in, text out.

Metrics come as entries, dicts of `value`, `ci_low` and `ci_high`. A value is undefined when it is
NaN, or None as JSON has it. Each function is a filter of the templates.
"""

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

UNDEFINED = "undefined"
_MINUS = "\N{MINUS SIGN}"
_JPEG = b"\xff\xd8"


def is_undefined(value: float | None) -> bool:
    """Whether a value is NaN or None."""
    return value is None or math.isnan(value)


def number(value: float | None, digits: int = 2) -> str:
    """Return a value with a fixed number of decimals."""
    return UNDEFINED if is_undefined(value) else f"{value:.{digits}f}".replace("-", _MINUS)


def signed(value: float | None, digits: int = 2) -> str:
    """Return a difference with its sign; one that rounds to zero has none."""
    text = number(value, digits)
    rounds_to_zero = not text.strip(f"{_MINUS}0.")
    if rounds_to_zero:
        return text.strip(_MINUS)
    return text if text.startswith(_MINUS) or is_undefined(value) else f"+{text}"


def short(value: float | None) -> str:
    """Return a value with three significant digits, such as a threshold."""
    return UNDEFINED if is_undefined(value) else f"{value:.3g}".replace("-", _MINUS)


def rounded_apart(value: float, limit: float) -> tuple[str, str]:
    """Return a value and a limit with three decimals, or as many as show if it is reached."""
    for decimals in range(3, 16):
        rounded = f"{value:.{decimals}f}", f"{limit:.{decimals}f}"
        if (float(rounded[0]) >= float(rounded[1])) == (value >= limit):
            break
    return rounded


def p_value(value: float | None) -> str:
    """Return a p-value with its sign of relation, such as `p = 0.764` or `p < 0.001`."""
    if not is_undefined(value) and value < 0.001:
        return "p < 0.001"
    return f"p = {number(value, 3)}"


def percent(value: float | None) -> str:
    """Return a share of 0 to 1 in per cent; one below 1 % has a decimal."""
    if is_undefined(value):
        return UNDEFINED
    return f"{100 * value:.{1 if 0 < value < 0.01 else 0}f} %"


def points(share: float | None) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return UNDEFINED if is_undefined(share) else signed(100 * share, 0)


def bounds(entry: Mapping[str, Any], form: str = "number") -> str:
    """Return the interval of an entry, or why it has none; the filter `form` writes its ends."""
    low, high = entry["ci_low"], entry["ci_high"]
    if is_undefined(low):
        return "no interval"
    if low == high:
        return "no spread"
    return f"{FILTERS[form](low)} to {FILTERS[form](high)}"


def interval(entry: Mapping[str, Any], form: str = "number") -> str:
    """Return the value of an entry with its interval, if it has one.

    A calibration error also has its noise level, and no value where the interval begins at 0: it
    cannot be distinguished from the error of perfect probabilities.
    """
    if is_undefined(entry["value"]):
        return UNDEFINED
    text = FILTERS[form](entry["value"])
    if not is_undefined(entry.get("noise")) and not is_undefined(entry["ci_low"]):
        if entry["ci_low"] == 0:
            text = "not distinguishable from 0"
        return f"{text} ({bounds(entry, form)}; noise {FILTERS[form](entry['noise'])})"
    return text if is_undefined(entry["ci_low"]) else f"{text} ({bounds(entry, form)})"


def inline(entry: Mapping[str, Any], form: str = "number") -> str:
    """Return the value of an entry and its interval without brackets, for a sentence."""
    return interval(entry, form).replace(" (", ", ").rstrip(")").replace(" % to ", " to ")


def percent_interval(entry: Mapping[str, Any]) -> str:
    """Return a share of 0 to 1 and its interval in per cent."""
    return interval(entry, "percent").replace(" % to ", " to ")


def count(number: float, noun: str = "", plural: str = "") -> str:
    """Return a count with thousands separators and its noun; a mean count has one decimal.

    The plural of the noun has an s unless `plural` is given.
    """
    text = f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"
    if not noun:
        return text
    return f"{text} {noun if number == 1 else plural or noun + 's'}"


def span(ends: Sequence[float]) -> str:
    """Return the two ends of a range; one number if they are equal."""
    low, high = (short(end) for end in ends)
    return low if low == high else f"{low} to {high}"


def words(label: str) -> str:
    """Return a label, flag or setting name as words: `no_lump` is "no lump"."""
    return label.replace("_", " ")


def listed(items: Iterable[str]) -> str:
    """Return items as a sentence lists them: "a, b and c"."""
    *rest, final = [*items] or [""]
    return f"{', '.join(rest)} and {final}" if rest else final


def slug(title: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def nested(values: Mapping[str, Any], indent: str = "") -> str:
    """Return nested values as indented lines, as YAML would show them."""
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", nested(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)


def data_uri(encoded: bytes | Path) -> str:
    """Return a PNG or JPEG, given as bytes or as a file, as a data URI."""
    data = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
    kind = "jpeg" if data.startswith(_JPEG) else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


FILTERS: dict[str, Callable[..., str | bool]] = {
    function.__name__: function
    for function in (
        *(is_undefined, number, signed, short, p_value, percent, points),
        *(bounds, interval, inline, percent_interval),
        *(span, words, listed, slug, nested, data_uri),
    )
} | {"counted": count}  # Jinja has a filter named count
