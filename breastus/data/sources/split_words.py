"""Words for the parts of a split in folder and file names: `training`, `Test set`, `val_images`.

One vocabulary for every reader. A folder such as `fold_2` is one of several folds: it is a part
of a data set, but not a split.
"""

import re

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validating": "val",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}
# Words that add nothing: `test_set`, `Training Images`, `01_train`.
_FILLERS = {"set", "sets", "data", "dataset", "split", "part", "folder", "image", "images", "imgs"}
_ENDINGS = re.compile(
    rf"({'|'.join(sorted(_SPLITS, key=len, reverse=True))})"
    "(?:sets?|datasets?|data|images|imgs|split)?"
)
_FOLD = re.compile(r"(?:k?fold|cv)[ _.-]*\d+|\d+[ _.-]*fold", re.IGNORECASE)


def parse_split(*names: str) -> str:
    """Return the split that the first of some names such as "Training set" means, or ""."""
    return next(filter(None, map(_parse, names)), "")


def mentions_split(name: str) -> bool:
    """Return whether a folder name such as `test_lump` has a word for a split among others."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    return not _parse(name) and any(map(_ENDINGS.fullmatch, words))


def split_in_name(name: str) -> str:
    """Return the split of a file name that starts or ends with a word for it, or ""."""
    words = re.findall(r"[^\W\d_]+", name)
    return parse_split(*words[:1], *words[-1:])


def is_fold(name: str) -> bool:
    """Return whether a folder name such as `fold_2` means one of several folds."""
    return _FOLD.fullmatch(name) is not None


def split_of_name(name: str) -> str:
    """Return the split that an image's name starts with (`train/lump/a`), or ""."""
    first = name.partition("/")[0]
    return first if first in ("train", "val", "test") else ""


def _parse(name: str) -> str:
    words = [word for word in re.findall(r"[^\W\d_]+", name.lower()) if word not in _FILLERS]
    if words == ["hold", "out"]:
        return "test"
    if len(words) == 1 and (known := _ENDINGS.fullmatch(words[0])):
        return _SPLITS[known[1]]
    return ""
