"""`breastus demo [MODEL]`: a web page that answers for images, on this machine."""

import argparse
import sys
from pathlib import Path

from breastus.utils.quiet import import_tensorflow

EXAMPLES = ("breastus demo", "breastus demo models/efficientnet_lite0 --port 8080")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        type=Path,
        metavar="MODEL",
        help="a bundle or run folder (default: models/busi, which ships with the repository)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; with any but a loopback address other machines can open the "
        "page (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="port, 0 for any free one (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    from breastus.deploy.bundle import shipped_bundle

    model = args.model or shipped_bundle()
    import_tensorflow()

    from breastus.workflows.demo import open_demo

    demo = open_demo(model, host=args.host, port=args.port)
    if not demo.loopback:
        print(
            f"breastus: warning: other machines can open this page ({args.host}). It has no "
            "password, and images travel unencrypted. Use it only in a network that you trust.",
            file=sys.stderr,
        )
    print(f"Page: {demo.url}  (Ctrl-C ends it)", flush=True)
    demo.serve()
    return 0
