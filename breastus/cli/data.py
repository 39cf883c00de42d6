"""`breastus data prepare | audit | show`: manifest and splits, an HTML page, a sheet of images."""

import argparse
from pathlib import Path

from breastus.cli import audit
from breastus.cli.options import add_data, add_out, add_settings, settings
from breastus.cli.quiet import import_tensorflow

EXAMPLES = (
    "breastus data audit --data path/to/BUSI",
    "breastus data prepare --data path/to/BUSI --data more.csv",
    "breastus data show --data path/to/BUSI --augment",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser(
        "prepare",
        help="write manifest.csv and splits.csv",
        description="Write which images are used, which are excluded and why, and their splits.",
        examples=("breastus data prepare --data path/to/BUSI --out data/prepared",),
    )
    add_out(prepare, "a folder for the two files (default: data/prepared)")
    audit.add_arguments(
        actions.add_parser(
            "audit",
            help="write an HTML page: near-duplicates, contradictions, leaks",
            description="Write an HTML page: near-duplicates, contradicting labels, shortcuts, and "
            "the leaks of a split.",
            examples=("breastus data audit --data path/to/images --splits my_split.csv",),
        )
    )
    show = actions.add_parser(
        "show",
        help="draw a sheet of images as PNG",
        description="Draw some images as a PNG sheet, with --augment as training sees them.",
        examples=("breastus data show --data path/to/BUSI --augment --count 6",),
    )
    add_out(show, "the picture (default: sheet.png)")
    show.add_argument("--augment", action="store_true", help="show augmented copies")
    show.add_argument(
        "--count", type=int, default=4, help="number of images (default: %(default)s)"
    )
    for action in (prepare, show):
        add_data(action)
        add_settings(action)


def run(args: argparse.Namespace) -> int:
    return {"prepare": _prepare, "audit": audit.run, "show": _show}[args.action](args)


def _prepare(args: argparse.Namespace) -> int:
    from breastus.data.manifest.build import load_manifest
    from breastus.data.manifest.schema import summary, write_manifest
    from breastus.data.splits.make import make_splits, splits_summary, write_splits
    from breastus.errors import RunError

    config = settings(args)
    out = args.out or Path("data", "prepared")
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out} exists and is not empty. Choose another --out, or delete it.")
    manifest = load_manifest(config.data.source, settings=config.data, seed=config.seed)
    print(summary(manifest))
    # Written first: a data set that cannot be split can still be looked at.
    write_manifest(manifest, out / "manifest.csv")
    splits = make_splits(
        manifest,
        scheme=config.data.split,
        seed=config.seed,
        fold=config.data.fold,
        folds=config.data.folds,
        val_rotation=config.data.val_rotation,
    )
    write_splits(splits, out / "splits.csv")
    print(splits_summary(splits, manifest))
    print(f"Written: {out / 'manifest.csv'}, {out / 'splits.csv'}")
    return int(manifest["excluded"].str.startswith("unreadable").any())


def _show(args: argparse.Namespace) -> int:
    config = settings(args)
    import_tensorflow()

    from breastus.augmentation.contact_sheet import contact_sheet
    from breastus.augmentation.policies import build_augmenter
    from breastus.data.images import ImageFile
    from breastus.data.manifest.build import load_manifest
    from breastus.data.manifest.schema import sample_balanced
    from breastus.errors import ConfigError, RunError
    from breastus.preprocessing.transform import Transform
    from breastus.utils.files import write_aside

    out = args.out or Path("sheet.png")
    if args.out and out.exists():
        raise RunError(f"{out} exists. Choose another --out, or delete it.")
    if args.count < 1:
        raise ConfigError(f"--count must be at least 1. Received: {args.count}")
    manifest = load_manifest(config.data.source, settings=config.data, seed=config.seed)
    rows = sample_balanced(manifest, args.count, seed=config.seed)
    transform = Transform.from_config(config)
    figure = contact_sheet(
        [transform.decode(ImageFile.read(path).encoded).numpy() for path in rows["path"]],
        [image_id.rpartition("/")[2] for image_id in rows["image_id"]],
        augmenter=build_augmenter(config.augmentation.policy) if args.augment else None,
        seed=config.seed,
    )
    with write_aside(out) as aside:
        figure.savefig(aside, dpi=120)
    print(f"Sheet: {out}")
    return 0
