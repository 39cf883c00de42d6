"""`breastus splits export`: folds with checksums, groups and exclusions, for any framework."""

import argparse

from breastus.cli.options import add_data, add_out, add_settings, settings

EXAMPLES = (
    "breastus splits export --data path/to/BUSI",
    "breastus splits export --data path/to/BUSI --out busi.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    export = actions.add_parser(
        "export",
        help="write a split as CSV or JSON",
        description="Write the folds of a data set with checksums, groups, and which images are "
        "excluded and why, so that anyone can train on them and be scored by `breastus score`.",
        examples=(*EXAMPLES, "breastus splits export --data path/to/BUSI --set data.folds=10"),
    )
    add_data(export)
    add_out(export, "a new file (default: the name of the split, such as busi-scenes-v1.csv)")
    export.add_argument(
        "--format", metavar="FORMAT", help="csv or json (default: by the suffix of --out, else csv)"
    )
    add_settings(export, "--split", defaults={"--split": "kfold"})


def run(args: argparse.Namespace) -> int:
    from breastus.workflows.export_splits import DEFAULTS, export_splits

    split, file = export_splits(config=settings(args, DEFAULTS), out=args.out, format=args.format)
    parts = f"{len(split.folds)} folds" if split.folds else "train, val and test"
    print(
        f"{split.name}: {len(split.images)} images in {split.images['group_id'].nunique()} groups "
        f"(patients or scenes), {parts}; {len(split.excluded)} images excluded, with the reason"
    )
    print(f"Fingerprint: {split.fingerprint}")
    print(f"Files are named relative to {split.folder}")
    print(f"Written: {file}")
    return 0
