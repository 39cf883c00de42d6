"""Class names, their ids and the positive class: the one place they are written.

Everything else imports from here. An unknown label is the empty string, never `no_lump`.
"""

NO_LUMP, LUMP = 0, 1
LABELS = ("no_lump", "lump")  # index = class id
POSITIVE = LABELS[LUMP]

FINDINGS = ("normal", "benign", "malignant", "unknown")
KNOWN_FINDINGS = FINDINGS[:3]
_LABEL_OF_FINDING = {"normal": "no_lump", "benign": "lump", "malignant": "lump", "unknown": ""}

# What the name of a class in a data set may mean.
CLASS_NAMES = ("lump", "no_lump", "benign", "malignant", "normal")

# `training.target` to what the outputs of a network mean. Output 0 means no lump, and the
# probability of lump is the sum of the others.
TARGETS = {"label": LABELS, "finding": KNOWN_FINDINGS}

SPLITS = ("train", "val", "test")

# Kinds of published faults, for which an image is excluded.
FAULTS = ("axilla", "needle", "doppler")


def label_of_finding(finding: str) -> str:
    """Return the label of a finding: benign and malignant are both `lump`, unknown is ""."""
    return _LABEL_OF_FINDING[finding]


def class_id(finding: str, target: str) -> int:
    """Return the class id of a finding that is known, by `training.target`."""
    return TARGETS[target].index(finding if target == "finding" else label_of_finding(finding))


def label_id(label: str) -> int:
    """Return 0 for `no_lump` and 1 for `lump`. Raises ValueError for any other text."""
    if label not in LABELS:
        raise ValueError(f"A label must be one of {', '.join(LABELS)}. Received: label={label!r}")
    return LABELS.index(label)
