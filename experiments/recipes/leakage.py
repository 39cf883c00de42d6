"""Leakage: how much a random split inflates the score

`compact` with the same settings on the same images of BUSI, split 60/20/20 in two ways: `group`
keeps near-duplicates together, `random` splits image by image, as for most published scores. The
rows `random` count every image as a scene, so their intervals are also too narrow.

    python -m experiments.recipes.leakage --data path/to/BUSI

Two cores without GPU: 2 to 8 minutes a run, 20 runs. The table of an earlier version was withdrawn,
because its records had gaps.
"""

from experiments.runner import run

SEEDS = 10
VARIANTS = {
    "group": ("compact", {"data": {"split": "group"}}),
    "random": ("compact", {"data": {"split": "group", "groups": "ignore"}}),
}

if __name__ == "__main__":
    run(__doc__, "leakage", VARIANTS, seeds=SEEDS)
