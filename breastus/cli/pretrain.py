"""`breastus pretrain MODEL --on phantoms|images`: a folder of weights for `model.weights` out."""

import argparse
import sys

from breastus.cli.options import add_data, add_out, add_settings, settings
from breastus.cli.quiet import import_tensorflow
from breastus.config.presets import pretraining_config

ON = ("phantoms", "images")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a network, such as compact")
    parser.add_argument(
        "--on",
        choices=ON,
        required=True,
        help="phantoms: lump or not, and where, in simulated images; images: hidden patches are "
        "reconstructed, labels are not read",
    )
    add_data(
        parser,
        "what the network is trained on afterwards; of it only the training part is seen: give the "
        "seed and split of that training",
    )
    parser.add_argument(
        "--unlabelled",
        action="append",
        metavar="DATA",
        help="further images, all of which are seen, but for twins of held-out ones; several times "
        "for several data sets",
    )
    parser.add_argument("--epochs", type=int, help="default: 25 on phantoms, 100 on images")
    parser.add_argument(
        "--phantoms", type=int, default=400, metavar="N", help="how many an epoch (default: 400)"
    )
    parser.add_argument(
        "--patch", type=int, help="side of the hidden patches in pixels (default: 32; cnn: 16)"
    )
    parser.add_argument(
        "--mask-ratio", type=float, default=0.6, help="share that is hidden (default: 0.6)"
    )
    parser.add_argument(
        "--fill",
        choices=["token", "mean", "zero"],
        help="what stands in hidden patches (default: a learnt token for Swins, else zero)",
    )
    add_out(parser, "the folder of weights (default: the next free one below runs/pretrained/)")
    add_settings(parser)


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
            epochs=args.epochs,
            phantoms=args.phantoms,
            patch=args.patch,
            mask_ratio=args.mask_ratio,
            fill=args.fill,
        )
    except KeyboardInterrupt:
        print("\nbreastus: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(f"Weights: {folder}")
    print(f"Train with them: breastus train {args.model} --set model.weights={folder}")
    return 0
