"""Does training in bfloat16 reach the scores of float32?

    python -m experiments.recipes.precision --data path/to/BUSI

`compact`, `swin_micro` and the study's CNN in mixed bfloat16 over seeds, into `runs/precision/`; a
run that is finished is skipped. Then `python -m experiments.results`, which puts beside them the
float32 runs of networks.py: the same seeds, splits and settings. What is judged is a float32
network in either case, as that is what is exported. The runs of `swin_micro` went on beside other
work: their times are upper bounds.
"""

from experiments.runner import run

VARIANTS = {
    network: (
        network,
        {"data": {"split": "group"}, "training": {"precision": "mixed_bfloat16"}},
    )
    for network in ("compact", "swin_micro", "cnn")
}

if __name__ == "__main__":
    run(__doc__, "precision", VARIANTS)
