"""`breastus pretrain NETWORK --on phantoms|images`: a folder of weights for `model.weights`."""

import argparse
import sys

from breastus.cli.options import add_data, add_out, add_settings, settings
from breastus.config.presets import pretraining_config
from breastus.utils.quiet import import_tensorflow

ON = ("phantoms", "images")
EXAMPLES = (
    "breastus pretrain compact --on phantoms --out from-phantoms",
    "breastus pretrain swin_micro --on images --data path/to/BUSI --out from-images",
    "breastus train compact --data path/to/BUSI --weights from-phantoms",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NETWORK", help="a network, such as compact")
    parser.add_argument(
        "--on",
        choices=ON,
        required=True,
        help="phantoms: classify simulated images and locate their lumps; images: reconstruct "
        "hidden patches, without labels",
    )
    add_data(
        parser,
        "with --on images: the data set of the later training, of which only the training part is "
        "seen; give the seed and split of that training (default: auto)",
    )
    parser.add_argument(
        "--unlabelled",
        action="append",
        metavar="DATA",
        help="with --on images: more images, all seen except near-duplicates of held-out ones; may "
        "be given several times (default: none)",
    )
    parser.add_argument(
        "--phantoms",
        type=int,
        default=400,
        metavar="N",
        help="with --on phantoms: new phantoms an epoch (default: %(default)s)",
    )
    parser.add_argument(
        "--patch", type=int, help="side of the hidden patches in pixels (default: 32; cnn: 16)"
    )
    parser.add_argument(
        "--mask-ratio",
        type=float,
        default=0.6,
        help="fraction of the patches that is hidden (default: %(default)s)",
    )
    parser.add_argument(
        "--fill",
        choices=["token", "mean", "zero"],
        help="content of hidden patches (default: a learnt token for Swins, otherwise zero)",
    )
    add_out(parser, "the folder of weights (default: the next free one below runs/pretrained)")
    defaults = {"--epochs": "25 on phantoms, 100 on images", "--learning-rate": "0.001"}
    shortcuts = ("--epochs", "--batch-size", "--learning-rate", "--image-size")
    add_settings(parser, *shortcuts, defaults=defaults)


def run(args: argparse.Namespace) -> int:
    config = settings(args, pretraining_config(args.model, args.on))
    import_tensorflow()

    from breastus.workflows.pretrain import pretrain

    try:
        folder = pretrain(
            args.model,
            on=args.on,
            data=args.data,
            unlabelled=args.unlabelled,
            out=args.out,
            config=config,
            phantoms=args.phantoms,
            patch=args.patch,
            mask_ratio=args.mask_ratio,
            fill=args.fill,
        )
    except KeyboardInterrupt:
        print("\nbreastus: interrupted; no weights were written", file=sys.stderr)
        return 130
    print(f"Weights: {folder}")
    print(f"Train with them: breastus train {args.model} --set model.weights={folder}")
    return 0
