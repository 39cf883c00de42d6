"""The part of the report on the shortcut test: as `shortcuts.json` in, HTML out."""

from html import escape
from typing import Any

from breastus.utils.html import table


def shortcuts_section(shortcuts: dict[str, Any]) -> str:
    """Return the part of the report, HTML: what `shortcuts.json` says, in words.

    Args:
        shortcuts: `drawn` and `removed`, as from `flip_rate`.
    """
    rows = [
        _row("Calipers and text drawn on images without a lump: called lump", shortcuts["drawn"]),
        _row("Marks removed from images of lumps: called no lump", shortcuts["removed"]),
    ]
    note = (
        "How many calls on test images flip when nothing but the marks changes. A model that looks "
        f"at the tissue flips few. At most {shortcuts['most']} images of each kind; "
        f"{100 * shortcuts['confidence']:.0f} % intervals after Wilson, over groups. Drawn marks "
        "cover some tissue and removed ones leave it blurred, so a few flips need be no shortcut."
    )
    header = ["What was changed", "flipped", "share", "mean change of the probability"]
    return (
        "<h2>Do marks sway it?</h2>" + table(header, rows) + f'<p class="soft">{escape(note)}</p>'
    )


def _row(title: str, part: dict[str, Any]) -> list[str]:
    if not part["n"]:
        return [title, "no such images", "undefined", "undefined"]
    return [
        title,
        f"{part['flipped']} of {part['n']}",
        f"{part['share']:.2f}  ({part['ci_low']:.2f} to {part['ci_high']:.2f})",
        f"{part['mean_change']:+.3f}",
    ]
