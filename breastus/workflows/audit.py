"""Audit a data set: images and a split in; an HTML page and a list of near-duplicates out.

report = breastus.audit("path/to/BUSI", splits="my_split.csv")
report.audit.splits[0].rates        # fractions of test images that leak
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from breastus.auditing.run_audit import Audit, run_audit
from breastus.config.schema import Config
from breastus.data.manifest.build import build_manifest_with_pairs
from breastus.data.manifest.schema import MANIFEST_FILE
from breastus.data.splits.benchmark_file import read_parts
from breastus.data.splits.split_csv import match_images
from breastus.errors import ConfigError, RunError
from breastus.reporting.audit_page import pairs_file, summary, twins_file, write_audit
from breastus.runs.run import SPLITS_FILE
from breastus.workflows.prepare import Places, free_name, with_settings


class AuditReport(NamedTuple):
    """Result and files of an audit.

    Attributes:
        audit: the findings.
        page: the HTML page; it shows images of patients.
        near_duplicates: CSV file of near-duplicate pairs.
        twins: CSV file of the images of test and val that have a twin in training; None if there
            are none, or no split was given.
    """

    audit: Audit
    page: Path
    near_duplicates: Path
    twins: Path | None

    @property
    def summary(self) -> str:
        """The findings in a few lines."""
        return summary(self.audit)


def audit(
    data: Places | None = None,
    *,
    splits: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    config: Config | None = None,
    **settings: Any,
) -> AuditReport:
    """Look for near-duplicates, contradicting labels, shortcuts, and the leaks of a split.

    Args:
        data: see `breastus.train`.
        splits: file with a split of your own: columns `image_id` or `path`, and `split` (train,
            val, test) or `fold`; or an export of `breastus.export_splits`. None takes splits.csv
            beside a manifest.csv, or the folders train/ and test/.
        out: a new HTML file; None takes audit.html, or the next free audit-2.html, ...
        config: all settings; None takes the defaults.
        **settings: single settings by name, such as `seed=1`.

    Raises:
        ConfigError: if groups are ignored.
        RunError: if `out` exists.
        DataError: if the data or the split cannot be read.
    """
    config = with_settings(config or Config(), data, settings)
    if config.data.groups == "ignore":
        raise ConfigError(
            "data.groups must be keep for an audit, which looks for leaks between groups. "
            "Received: ignore"
        )
    for file in _files(Path(out)) if out is not None else ():
        if file.exists():
            raise RunError(f"{file} exists. Choose another --out, or delete it.")
    file = Path(splits) if splits is not None else _prepared_splits(config.data.source)
    # Read first, so that a damaged file is reported before the images are read.
    members = read_parts(file) if file is not None else None
    found = build_manifest_with_pairs(config.data.source, settings=config.data, seed=config.seed)
    if members is not None:
        members["image_id"] = match_images(members["image"], found.manifest, file)
        members = members.drop(columns="image").drop_duplicates(ignore_index=True)
    result = run_audit(
        found,
        members=members,
        title=f"the split {file.name}" if file is not None else "",
        settings=config.data,
        seed=config.seed,
    )
    page = free_name("audit", _files) if out is None else Path(out)
    pairs = write_audit(result, page)
    twins = twins_file(page)
    return AuditReport(result, page, pairs, twins if twins.exists() else None)


def _files(page: Path) -> tuple[Path, ...]:
    return page, pairs_file(page), twins_file(page)


def _prepared_splits(source: str) -> Path | None:
    """Return the splits.csv beside a manifest.csv in a folder, if there is one."""
    folder = Path(source)
    both = (folder / MANIFEST_FILE).is_file() and (folder / SPLITS_FILE).is_file()
    return folder / SPLITS_FILE if both else None
