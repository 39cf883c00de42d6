"""How much does a random split flatter?

    python -m experiments.recipes.leakage --data path/to/BUSI --seeds 5

`compact` with one recipe on the same images of BUSI, split 60/20/20 two ways: `group` never cuts
near-duplicates apart, `random` draws image by image, as most published scores were measured. Into
`runs/leakage/`; a run that is finished there is skipped, with `--missing` also one whose record is
kept. Then `python -m experiments.results`. The random rows count every image as a scene of its own,
so their intervals are too narrow as well.
"""

from experiments.runner import run

VARIANTS = {
    "group": ("compact", {"data": {"split": "group"}}),
    "random": ("compact", {"data": {"split": "group", "groups": "ignore"}}),
}

if __name__ == "__main__":
    run(__doc__, "leakage", VARIANTS)
