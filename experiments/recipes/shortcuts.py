"""Do networks learn the marks? `compact` with marks kept, removed, and nothing but marks.

    python -m experiments.recipes.shortcuts --data path/to/BUSI

Three variants times three seeds, into `runs/shortcuts/`; a run that is finished there is skipped
(with `--missing` also one whose record is kept), one that was killed is taken up. Then `python -m
experiments.results`. All split by scene with the known faults left out, with the settings of
breastus/models/recipes.py. `only` sees calipers and text, white on black, and no tissue: what it
scores above guessing is what marks tell of the class. How many calls flip when marks are drawn or
removed stands in each run's report.
"""

from experiments.runner import run

VARIANTS = {
    marks: ("compact", {"data": {"split": "group"}, "preprocessing": {"annotations": marks}})
    for marks in ("keep", "remove", "only")
}

if __name__ == "__main__":
    run(__doc__, "shortcuts", VARIANTS)
