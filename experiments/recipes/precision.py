"""Mixed precision: training in bfloat16 and in float32

`compact`, `swin_micro` and the study's CNN in mixed bfloat16. They are compared with the float32
runs of the recipe `networks`, which have the same seeds, splits and settings. The evaluated and
exported network is float32 in both cases. The runs of `swin_micro` shared the machine with other
work, so their times are upper bounds.

    python -m experiments.recipes.precision --data path/to/BUSI

Two cores with bfloat16 support: 1 to 7 minutes a run. Expected difference in ROC-AUC (95 %
interval): CNN -0.01 (-0.09 to 0.07), compact 0.00 (-0.03 to 0.04), swin_micro -0.01 (-0.03 to
0.01).
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
