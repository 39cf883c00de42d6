"""Names of classes in folders and tables: the usual English names, and names of a user's own.

names = ClassNames({"cancer": "lump", "healthy": "no_lump"})     # the setting data.labels
names.parse("Cancer")                                            # ("unknown", "lump")
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

# Name in lower case without spaces, dashes and underscores: (finding, label).
_KNOWN = {
    "lump": ("unknown", "lump"),
    "lumps": ("unknown", "lump"),
    "nolump": ("normal", "no_lump"),
    "nolumps": ("normal", "no_lump"),
    "nonlump": ("normal", "no_lump"),
    "benign": ("benign", "lump"),
    "malignant": ("malignant", "lump"),
    "normal": ("normal", "no_lump"),
}
# What a suggestion offers for a name; nothing is read by these.
_LIKELY = {
    "no_lump": r"(?<!un)healthy|(?<!ab)normal|negative|clear|control|without|gesund|sano|sain|"
    r"no[nt]?(?:lump|cancer|tumou?r|mass|lesion|finding|nodule)",
    "malignant": "malig|bösartig",
    "benign": "benig|gutartig|cyst|fibroaden",
    "lump": "cancer|tumou?r|mass|lesion|lump|positive|carcinom|krebs|nodule|disease|abnormal",
}


class ClassNames:
    """Names of classes and what they mean.

    Args:
        labels: names of a user's own to `lump`, `no_lump`, `benign`, `malignant` or `normal`; they
            have priority over the usual names.
    """

    def __init__(self, labels: Mapping[str, str] | None = None):
        self.labels = dict(labels or {})
        self._own = {plain(name): _KNOWN[plain(value)] for name, value in self.labels.items()}

    def parse(self, name: str) -> tuple[str, str] | None:
        """Return finding and label of a class name such as "No lump", or None."""
        key = plain(name)
        return self._own.get(key) or _KNOWN.get(key)

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return the user's own names that a data set does not contain."""
        found = set(map(plain, names))
        return [name for name in self.labels if plain(name) not in found]


def plain(name: str) -> str:
    """Return a name in lower case, without spaces, dashes and underscores."""
    # macOS writes é as two characters into file names.
    return re.sub(r"[\s_-]", "", unicodedata.normalize("NFC", name).casefold())


def suggestion(names: Iterable[str]) -> str:
    """Return the option that says what names mean, such as `--labels cancer=lump x=LABEL`."""
    pairs = [f"{name}={_likely(name)}" for name in names]
    return "--labels " + " ".join(f'"{pair}"' if " " in pair else pair for pair in pairs)


def _likely(name: str) -> str:
    matches = (label for label, words in _LIKELY.items() if re.search(words, plain(name)))
    return next(matches, "LABEL")
