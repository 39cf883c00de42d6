"""Anybody's predictions for a benchmark split: a table in, checked predictions of each run out.

    image_id,probability,fold,seed,threshold
    busi/benign (1),0.93,3,0,0.5

An image is named by `image_id`, by `path`, `file` and the like, or by the `sha256` of its file or
the `pixel_sha256` of an export. `probability` is the probability of a lump. Optional: `fold`, in
which the image was tested; `seed` or `run`, for several models of one recipe; `threshold`, from
which an image is predicted lump, or `predicted` (lump, no_lump); `label`; and `split_name`, the
split that the predictions are for. Anything that does not fit is an error that names the rows.

A cross-validation of breastus is taken as its folder. Each of its repeats draws other folds, so
only those that have the folds of the split are scored.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from breastus.data.sources.tables import find_image_column, read_image_table
from breastus.data.splits.benchmark import FOLD, BenchmarkSplit
from breastus.data.splits.benchmark_file import parse_fold
from breastus.data.splits.split_csv import match_images
from breastus.errors import DataError
from breastus.evaluation.intervals.recipe import check_recipe
from breastus.labels import LABELS, LUMP

THRESHOLD = 0.5  # of predictions that come without one
REPEAT = "repeat"  # column of a cross-validation of breastus
RUN_COLUMNS = ("run", "seed", REPEAT)  # name one of several models
_CHECKSUMS = ("pixel_sha256", "sha256")
_LABELS = {**{label: label for label in LABELS}, "0": LABELS[0], "1": LABELS[LUMP]}
_LABELS |= {"normal": LABELS[0], "benign": LABELS[LUMP], "malignant": LABELS[LUMP]}
_SHOWN = 3  # rows or images in an error message


@dataclass(frozen=True)
class Entry:
    """Predictions for all test images of a split.

    Attributes:
        tables: one table of predictions a run, with the columns of
            `breastus.evaluation.predictions`, `threshold`, and `fold` in a split of folds; sorted
            by image id.
        runs: names of the runs; one empty text for a single model without a name.
        thresholds: origin of the thresholds, such as `given`.
        folds_checked: true if the file names the fold of each prediction; it was checked.
        unscored: images that the file names and the split excludes, with the reason, `image_id`
            and `excluded`.
        other_repeats: repeats of a cross-validation that have other folds, and are not scored.
    """

    tables: list[pd.DataFrame]
    runs: list[str]
    thresholds: str
    folds_checked: bool
    unscored: pd.DataFrame
    other_repeats: list[str]


class EntryFile:
    """Predictions as they were handed in, and the checks, the most basic first.

    Args:
        predictions: a CSV or Excel file, or a table with the same columns.

    Raises:
        DataError: if the file cannot be read, or lacks the column `probability` or rows.
    """

    def __init__(self, predictions: str | os.PathLike | pd.DataFrame):
        if isinstance(predictions, pd.DataFrame):
            self.name, self.path = "The table of predictions", Path("predictions")
            table = predictions.reset_index(drop=True)
            self.table = table.astype(object).where(table.notna(), "").astype(str)
        else:
            self.name, self.path = str(predictions), Path(predictions)
            self.table = read_image_table(self.path)
        if "probability" not in self.table:
            raise DataError(
                f"{self.name} must have a column probability (of a lump). "
                f"Received: {', '.join(self.table.columns)}"
            )
        if self.table.empty:
            raise DataError(f"{self.name} has no row below its column names.")

    def check(self, manifest: pd.DataFrame, split: BenchmarkSplit) -> Entry:
        """Return the predictions for the test images of a split.

        Args:
            manifest: manifest of the images.
            split: split that the predictions are for.

        Raises:
            DataError: if they do not fit, see `breastus.score`. The message names rows of the file,
                in which the names of the columns are row 1.
        """
        return _Check(self, manifest, split).entry()


class _Check:
    def __init__(self, file: EntryFile, manifest: pd.DataFrame, split: BenchmarkSplit):
        self.manifest, self.split = manifest, split
        self.name, self.path, self.table = file.name, file.path, file.table.copy()

    def entry(self) -> Entry:
        table = self.table
        table["probability"] = self._numbers("probability")
        table["image_id"] = self._image_ids()
        if "split_name" in table:
            self._check_split_name()
        named = [name for name in RUN_COLUMNS if name in table]
        for column in named:
            self._refuse(table[column] == "", f"each row must name its {column}", column)
        table["_run"] = table[named].agg(", ".join, axis=1) if named else ""
        other_repeats = self._drop_other_repeats() if REPEAT in named else []
        self._check_unique()
        unscored = self._drop_unscored()
        self._check_tested()
        folds_checked = FOLD in self.table and self.split.by == FOLD
        if folds_checked:
            self._check_folds()
        if "label" in self.table:
            self._check_labels()
        runs = list(dict.fromkeys(self.table["_run"]))
        for one in runs:
            self._check_coverage(one, len(runs) > 1)
        thresholds = self._add_thresholds()
        tables = [self._predictions(self.table[self.table["_run"] == one]) for one in runs]
        check_recipe(
            [
                (f"{self.name}, {' and '.join(named)} {one}", table)
                for one, table in zip(runs, tables, strict=True)
            ]
        )
        return Entry(tables, runs, thresholds, folds_checked, unscored, other_repeats)

    def _numbers(self, column: str) -> pd.Series:
        """Return a column of numbers from 0 to 1."""
        number = pd.to_numeric(self.table[column], errors="coerce")
        # False for NaN as well.
        self._refuse(~number.between(0, 1), f"{column} must be a number from 0 to 1", column)
        return number

    def _image_ids(self) -> list[str]:
        table = self.table
        checksum = next((name for name in _CHECKSUMS if name in table), None)
        column = "image_id" if "image_id" in table else find_image_column(table, self.path)
        # Beside a checksum, a column `name` may be the name of the model.
        if column is not None and not (column == "name" and checksum):
            return match_images(table[column], self.manifest, self.path)
        if checksum is None:
            raise DataError(
                f"{self.name} must name the image of each row: image_id, path, file, sha256 or "
                f"pixel_sha256. Received: {', '.join(table.columns)}"
            )
        # Of equal files the used one comes first. Excluded images have no checksum of pixels.
        files = pd.concat([self.split.images, self.manifest])
        known = files.drop_duplicates(checksum).set_index(checksum)["image_id"]
        found = table[checksum].str.lower().map(known)
        self._refuse(
            found.isna() | (table[checksum] == ""),
            f"no image of --data that is used has this {checksum}",
            checksum,
        )
        return found.tolist()

    def _check_split_name(self) -> None:
        split, given = self.split, self.table["split_name"]
        wrong = ~given.isin([split.name, split.fingerprint])
        self._refuse(
            wrong, f"the predictions are for another split than {split.name}", "split_name"
        )

    def _drop_other_repeats(self) -> list[str]:
        """Remove the repeats that have other folds than the split, and return their names.

        They are models of another split, which have trained on images that this one tests.
        """
        if FOLD not in self.table or self.split.by != FOLD:
            return []
        own = self.table["image_id"].map(self.split.images.set_index("image_id")[FOLD])
        wrong = own.notna() & (self.table[FOLD].map(parse_fold) != own)
        # A few wrong rows are an error that `_check_folds` names.
        shares = wrong.groupby(self.table["_run"]).mean()
        others = sorted(shares.index[shares > 0.5])
        if len(others) == len(shares):
            way_out = "Name the split that it was trained on: --splits FILE"
            if self.split.is_named:
                way_out = (
                    f"breastus train draws these with --folds {len(self.split.folds)} --seed 0 and "
                    "the default settings of data. Train so, or export the split of your settings "
                    "with breastus splits export, and name it with --splits"
                )
            raise DataError(
                f"{self.name}: no repeat of this cross-validation has the folds of "
                f"{self.split.name}. {way_out}. Received: {len(others)} repeats with other folds"
            )
        self.table = self.table[~self.table["_run"].isin(others)]
        return others

    def _check_unique(self) -> None:
        repeated = self.table.duplicated(["_run", "image_id"], keep=False)
        self._refuse(
            repeated,
            "each image must be predicted once by a model. A column seed or run tells several "
            "models of one recipe apart",
            "image_id",
        )

    def _drop_unscored(self) -> pd.DataFrame:
        """Remove images that the split excludes, and return them with the reason."""
        reasons = self.split.excluded.set_index("image_id")["excluded"]
        named = self.table["image_id"].isin(reasons.index)
        unscored = self.table.loc[named, ["image_id"]].drop_duplicates(ignore_index=True)
        self.table = self.table[~named].copy()
        return unscored.assign(excluded=unscored["image_id"].map(reasons))

    def _check_tested(self) -> None:
        trained = ~self.table["image_id"].isin(self.split.tested["image_id"])
        self._refuse(
            trained,
            f"predictions must be for test images only. These images are in train or val of "
            f"{self.split.name}",
            "image_id",
        )

    def _check_folds(self) -> None:
        part = self.table["image_id"].map(self.split.images.set_index("image_id")[FOLD])
        given = self.table[FOLD].map(parse_fold)
        self._refuse(
            given != part,
            f"fold must be the one in which {self.split.name} tests the image; a model of another "
            "fold has trained on it, or on images like it",
            FOLD,
        )

    def _check_labels(self) -> None:
        own = self.table["image_id"].map(self.split.images.set_index("image_id")["label"])
        given = self.table["label"].str.strip().str.lower()
        unlike = (given != "") & (given.map(_LABELS) != own)
        self._refuse(unlike, "the label must agree with --data", "label")

    def _check_coverage(self, run: str, several: bool) -> None:
        tested = self.split.tested["image_id"]
        rows = self.table[self.table["_run"] == run]
        missing = tested[~tested.isin(rows["image_id"])].tolist()
        if missing:
            where = f" of run {run}" if several else ""
            raise DataError(
                f"{self.name}{where} must predict all {len(tested)} test images of "
                f"{self.split.name}. Missing: {len(missing)} image{'s' * (len(missing) > 1)}: "
                f"{_few(missing)}"
            )

    def _add_thresholds(self) -> str:
        """Add the column `threshold`; return where it comes from."""
        table = self.table
        called = None
        if "predicted" in table:
            called = table["predicted"].str.strip().str.lower().map(_LABELS)
            self._refuse(
                called.isna(), f"predicted must be one of {', '.join(LABELS)}", "predicted"
            )
        if "threshold" in table:
            table["threshold"] = self._numbers("threshold")
            source = "given"
        elif called is None:
            table["threshold"] = THRESHOLD
            return f"{THRESHOLD}, because none was given"
        else:
            table["threshold"] = self._thresholds_of(called == LABELS[LUMP])
            source = "from the column predicted"
        if called is not None:
            meant = np.where(table["probability"] >= table["threshold"], LABELS[LUMP], LABELS[0])
            self._refuse(
                called != meant,
                "predicted and probability contradict each other: a model says lump from one "
                "threshold on, in each fold. Correct or remove the column predicted",
                "predicted",
            )
        return source

    def _thresholds_of(self, lump: pd.Series) -> pd.Series:
        """Return the lowest probability that is predicted lump in each run and fold."""
        table = self.table.assign(lowest=self.table["probability"].where(lump))
        table["part"] = table["image_id"].map(self.split.parts)
        parts = table.groupby(["_run", "part"])
        # Without an image that is predicted lump, the threshold lies above all probabilities.
        above = (1 + parts["probability"].transform("max")) / 2
        return parts["lowest"].transform("min").fillna(above)

    def _predictions(self, rows: pd.DataFrame) -> pd.DataFrame:
        columns = ["image_id", "group_id", "finding", "label", self.split.by]
        table = self.split.tested[columns].merge(
            rows[["image_id", "probability", "threshold"]], on="image_id", validate="one_to_one"
        )
        lump = table["probability"] >= table["threshold"]
        table["predicted"] = np.where(lump, LABELS[LUMP], LABELS[0])
        return table.assign(split="test").sort_values("image_id", ignore_index=True)

    def _refuse(self, wrong: pd.Series, rule: str, column: str) -> None:
        """Raise DataError about rows that break a rule, if any."""
        if not wrong.any():
            return
        name = "image_id" if "image_id" in self.table else self.table.columns[0]
        rows = self.table[wrong]
        shown = [
            f"row {row + 2} ({text}{f', {column}={value}' if column != name else ''})"
            for row, text, value in zip(
                rows.index[:_SHOWN], rows[name], self._given(rows, column), strict=False
            )
        ]
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        raise DataError(f"{self.name}: {rule}. Received: {', '.join(shown)}{more}")

    def _given(self, rows: pd.DataFrame, column: str) -> list[str]:
        return rows[column].map(lambda value: repr(value) if value == "" else str(value)).tolist()


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
