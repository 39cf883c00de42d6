"""Shortcut test: `compact` with burned-in marks kept, removed, and alone

Images are split by scene with the known faults left out. `only` shows the network calipers and
text, white on black, and no tissue: its score above chance is what marks reveal about the class.
The report of each run has the share of predictions that change when marks are drawn or removed.

    python -m experiments.recipes.shortcuts --data path/to/BUSI

Two cores without GPU: 6 to 9 minutes a run, 30 runs. The table of an earlier version was withdrawn,
because its records had gaps.
"""

from experiments.runner import run

SEEDS = 10
VARIANTS = {
    marks: ("compact", {"data": {"split": "group"}, "preprocessing": {"annotations": marks}})
    for marks in ("keep", "remove", "only")
}

if __name__ == "__main__":
    run(__doc__, "shortcuts", VARIANTS, seeds=SEEDS)
