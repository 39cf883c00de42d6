"""Readings of the study: its CNN, with what its text leaves open tried in ten seeds each

The text of the study leaves open what its CNN received and returned, and some of it contradicts the
rows of the recipe `study`: it has an output layer of three neurons, and describes augmentation
beside PyTorch, in which only its Swin was written. A reading is one way to fill these gaps:

- `labels`, `findings`: two outputs (no lump, lump), or three (normal, benign, malignant).
- `zscore`, `unit`, `raw`: z-scores, 0 to 1, or 0 to 255.
- `accuracy`, `last`: the epoch with the best validation accuracy, or the last one, is kept; without
  either word, it is the one with the lowest validation loss, as the study says.

Each reading follows the study's protocol: its Table II, 459 images split image by image into its
sizes, squashed and not trimmed, no augmentation, bfloat16, no calibration. `parula` is a reading in
PARULA colours. The rows `findings-raw-...` change one thing of the reading `findings-raw`:
augmentation, trimming, padding instead of squashing, a weight decay of 0.01 (PyTorch's default;
0.004 is Keras's), float32. `warmup` raises the learning rate over two epochs, which Table II does
not exclude. `scenes` splits as many images so that no scene is on two sides.

    python -m experiments.recipes.study_readings --data path/to/BUSI --jobs 2

Two cores with bfloat16 support: 1 to 3 minutes a run, 290 runs. Expected ROC-AUC, from trials of
three or four seeds with other code: `labels-zscore` 0.72, `findings-raw` 0.82,
`findings-raw-scenes` 0.67. A quick check that it works: `--only findings-raw --seeds 1 --set
training.epochs=2`.
"""

from typing import Any

from experiments.runner import run
from experiments.twins import write_twins

SEEDS = 10
EXPERIMENT = "study_readings"
BEST = "findings-raw"  # the reading that comes closest to the published scores

_PROTOCOL: dict[str, dict[str, Any]] = {
    "data": {
        "split": "study",
        "groups": "ignore",
        "known_faults": False,
        "contradictions": "keep",
    },
    "preprocessing": {"trim": False},
    "augmentation": {"policy": "none"},
    "training": {"precision": "mixed_bfloat16"},
    "evaluation": {"threshold": 0.5, "calibration": "none"},
}
_READINGS: dict[str, dict[str, dict[str, Any]]] = {
    "labels-zscore": {},
    "labels-raw": {"preprocessing": {"scaling": "raw"}},
    "findings-zscore": {"training": {"target": "finding"}},
    "findings-unit": {"training": {"target": "finding"}, "preprocessing": {"scaling": "unit"}},
    "findings-raw": {"training": {"target": "finding"}, "preprocessing": {"scaling": "raw"}},
}
_ACCURACY = {"training": {"checkpoint": "accuracy"}}
_PARULA = {"preprocessing": {"color": "parula"}}
_WARMUP = {"training": {"warmup_epochs": 2.0}}
_SCENES = {"data": {"groups": "keep"}}
_CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "last": {"training": {"checkpoint": "last"}},
    "accuracy-parula": {**_ACCURACY, **_PARULA},
    "augmented": {"augmentation": {"policy": "study"}},
    "trimmed": {"preprocessing": {"trim": True}},
    "padded": {"preprocessing": {"aspect": "keep"}},
    "decay": {"training": {"weight_decay": 0.01}},
    "float32": {"training": {"precision": "float32"}},
}


def _reading(name: str, *changes: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return the variant of a reading with further changes; later ones count."""
    settings = {part: dict(values) for part, values in _PROTOCOL.items()}
    for change in (_READINGS[name], *changes):
        for part, values in change.items():
            settings[part] |= values
    return "cnn", settings


VARIANTS = {
    **{name: _reading(name) for name in _READINGS},
    **{f"{name}-accuracy": _reading(name, _ACCURACY) for name in _READINGS},
    **{f"{BEST}-{name}": _reading(BEST, change) for name, change in _CHANGES.items()},
    "labels-zscore-warmup": _reading("labels-zscore", _WARMUP),
    **{f"{name}-parula": _reading(name, _PARULA) for name in _READINGS},
    # As many images as in the study's protocol, so that only the leak differs.
    "labels-zscore-scenes": _reading("labels-zscore", _SCENES),
    "labels-zscore-warmup-scenes": _reading("labels-zscore", _WARMUP, _SCENES),
    "labels-raw-scenes": _reading("labels-raw", _SCENES),
    f"{BEST}-scenes": _reading(BEST, _SCENES),
    f"{BEST}-accuracy-scenes": _reading(BEST, _ACCURACY, _SCENES),
    f"{BEST}-parula-scenes": _reading(BEST, _PARULA, _SCENES),
}

if __name__ == "__main__":
    run(__doc__, EXPERIMENT, VARIANTS, seeds=SEEDS)
    write_twins(EXPERIMENT)
