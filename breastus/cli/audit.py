"""`breastus data audit`: one HTML page about a data set and the leaks of a split."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_out, add_settings, settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--splits",
        type=Path,
        metavar="CSV",
        help="a split to check for leaks, with the columns split and image_id or path (default: "
        "splits.csv beside the manifest, or the folders train/ and test/)",
    )
    add_out(parser, "the page (default: audit.html, or the next free audit-2.html, ...)")
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    from breastus.workflows.audit import audit

    report = audit(config=settings(args), splits=args.splits, out=args.out)
    print(report.summary)
    print(f"Page: {report.page} (it shows images of patients: do not publish it)")
    print(f"Near-duplicates: {report.near_duplicates}")
    return int(bool(report.audit.unreadable))
