"""Read a label, an explanation and a recommendation from generated text."""

import re
from typing import NamedTuple

_WORD = r"(?P<word>yes|no)\b"
# The request itself repeated ("yes or no") is no answer.
_NOT_BOTH = r"(?!\s*(?:,|/|or)+\s*(?:yes|no)\b)"
_ANSWER = re.compile(rf"(?:^\W*|\banswer(?:\s+is)?\W+){_WORD}{_NOT_BOTH}", re.IGNORECASE)
_PART = r"\b{name}\s*:\s*(?P<text>.*?)(?=\b(?:answer|explanation|recommendation)\s*:|$)"


class Report(NamedTuple):
    """Parts of a generated text; `lump` is None when no answer can be read."""

    lump: bool | None
    explanation: str
    recommendation: str


def parse_report(text: str) -> Report:
    """Return the parts of a generated text; parts that it lacks are empty.

    Without the word "Explanation:", a text with a readable answer counts as the explanation.
    """
    found = _ANSWER.search(text)
    lump = found["word"].lower() == "yes" if found else None
    explanation, recommendation = (_part(text, name) for name in ("explanation", "recommendation"))
    if lump is not None and not explanation and not recommendation:
        explanation = " ".join(text.split())
    return Report(lump, explanation, recommendation)


def _part(text: str, name: str) -> str:
    found = re.search(_PART.format(name=name), text, re.IGNORECASE | re.DOTALL)
    return " ".join(found["text"].split()) if found else ""
