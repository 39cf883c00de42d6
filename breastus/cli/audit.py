"""`breastus data audit`: one HTML page about a data set and the leaks of a split."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_out, add_settings, free_name, settings


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
    from breastus.audit.run_audit import run_audit
    from breastus.data.manifest.build import build_manifest_with_pairs
    from breastus.data.splits.split_csv import match_images, read_split_csv
    from breastus.errors import ConfigError, RunError
    from breastus.reporting.audit_page import summary, twins_file, write_audit

    config = settings(args)
    if config.data.groups == "ignore":
        raise ConfigError(
            "data.groups must be keep for an audit, which looks for leaks between groups. "
            "Received: ignore"
        )
    for taken in (args.out, twins_file(args.out)) if args.out else ():
        if taken.exists():
            raise RunError(f"{taken} exists. Choose another --out, or delete it.")
    file = args.splits or _prepared_splits(config.data.source)
    # Read first, so that a damaged file is reported before the images are read.
    members = None if file is None else read_split_csv(file)
    found = build_manifest_with_pairs(config.data.source, settings=config.data, seed=config.seed)
    if members is not None:
        members["image_id"] = match_images(members["image"], found.manifest, file)
        members = members.drop_duplicates(["image_id", "split"], ignore_index=True)
    audit = run_audit(
        found,
        members=members,
        title="" if file is None else f"the split {file.name}",
        settings=config.data,
        seed=config.seed,
    )
    out = args.out or free_name("audit", lambda page: (page, twins_file(page)))
    csv = write_audit(audit, out)
    print(summary(audit))
    print(f"Page: {out} (it shows images of patients: do not publish it)")
    print(f"Near-duplicates: {csv}")
    return int(bool(audit.unreadable))


def _prepared_splits(source: object) -> Path | None:
    from breastus.data.manifest.schema import MANIFEST_FILE

    folder = Path(source) if isinstance(source, str) else None
    if folder is None or not (folder / MANIFEST_FILE).is_file():
        return None
    return folder / "splits.csv" if (folder / "splits.csv").is_file() else None
