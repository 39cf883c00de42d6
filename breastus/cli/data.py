"""`breastus data prepare | audit | show`: manifest and splits, an HTML page, a sheet of images."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_out, add_settings, settings
from breastus.utils.quiet import import_tensorflow

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
    audit = actions.add_parser(
        "audit",
        help="write an HTML page: near-duplicates, contradictions, leaks",
        description="Write an HTML page: near-duplicates, contradicting labels, shortcuts, and "
        "the leaks of a split.",
        examples=("breastus data audit --data path/to/images --splits my_split.csv",),
    )
    add_data(audit)
    audit.add_argument(
        "--splits",
        type=Path,
        metavar="CSV",
        help="a split to check for leaks, with the columns split and image_id or path (default: "
        "splits.csv beside the manifest, or the folders train/ and test/)",
    )
    add_out(audit, "the page (default: audit.html, or the next free audit-2.html, ...)")
    add_settings(audit)
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
    return {"prepare": _prepare, "audit": _audit, "show": _show}[args.action](args)


def _prepare(args: argparse.Namespace) -> int:
    from breastus.workflows.prepare import PREPARED_FOLDER, prepare

    out = args.out or PREPARED_FOLDER
    manifest, _ = prepare(config=settings(args), out=out)
    print(f"Written: {out / 'manifest.csv'}, {out / 'splits.csv'}")
    return int(manifest["excluded"].str.startswith("unreadable").any())


def _audit(args: argparse.Namespace) -> int:
    from breastus.workflows.audit import audit

    report = audit(config=settings(args), splits=args.splits, out=args.out)
    print(report.summary)
    print(f"Page: {report.page} (it shows images of patients: do not publish it)")
    print(f"Near-duplicates: {report.near_duplicates}")
    if report.twins:
        print(f"Images of test and val with a twin in training: {report.twins}")
    return int(bool(report.audit.unreadable))


def _show(args: argparse.Namespace) -> int:
    config = settings(args)
    import_tensorflow()

    from breastus.workflows.show import show

    sheet = show(config=config, out=args.out, count=args.count, augment=args.augment)
    print(f"Sheet: {sheet}")
    return 0
