"""Mixed precision: training in bfloat16 and in float32

`compact`, `swin_micro` and the study's CNN in mixed bfloat16. They are compared with the float32
runs of the recipe `networks`, which have the same seeds, splits and settings. The evaluated and
exported network is float32 in both cases. That bfloat16 reaches the scores of float32 would take
an equivalence test; fewer than five seeds claim nothing. The runs of `swin_micro` shared the
machine with other work, so their times are upper bounds.

    python -m experiments.recipes.precision --data path/to/BUSI

Two cores with bfloat16 support: 1 to 7 minutes a run, 15 runs. Expected ROC-AUC (95 % interval of
three seeds): compact 0.85 (0.63 to 0.95).
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
