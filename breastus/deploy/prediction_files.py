"""Predictions as a file, written as they come: JSON, CSV or Parquet.

JSON has what `Prediction.to_dict` returns. The tables have a row an image: its flags are joined by
`;`, their meanings by `; `, and the probabilities of a network of findings have a column each.
"""

import contextlib
import csv
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from breastus.deploy.predictor import Prediction
from breastus.utils.files import write_aside

FORMATS = ("json", "csv", "parquet")
_ROWS = 1000  # of Parquet that are written at once

Write = Callable[[Prediction], None]


@contextlib.contextmanager
def prediction_file(
    form: str, out: str | os.PathLike | None, *, findings: Sequence[str] = ()
) -> Iterator[Write]:
    """Open a file of predictions; yield the function that adds one.

    Args:
        form: one of `FORMATS`.
        out: the file, which appears once it is complete; None is the standard output, but not for
            Parquet.
        findings: names of the findings that the network learned, if it did.
    """
    with contextlib.ExitStack() as stack:
        target: Any = sys.stdout
        if out is not None:
            target = stack.enter_context(write_aside(out))
            if form != "parquet":
                target = stack.enter_context(target.open("w", encoding="utf-8", newline=""))
        yield stack.enter_context(_OPEN[form](target, findings))


@contextlib.contextmanager
def _json(file: TextIO, findings: Sequence[str]) -> Iterator[Write]:
    count = 0

    def write(prediction: Prediction) -> None:
        nonlocal count
        row = json.dumps(prediction.to_dict(), indent=2, ensure_ascii=False)
        file.write(f"{',' if count else '['}\n{textwrap.indent(row, '  ')}")
        count += 1

    yield write
    file.write("\n]\n" if count else "[]\n")


@contextlib.contextmanager
def _csv(file: TextIO, findings: Sequence[str]) -> Iterator[Write]:
    table = csv.DictWriter(file, _columns(findings), lineterminator="\n")
    table.writeheader()
    yield lambda prediction: table.writerow(_row(prediction, findings))


@contextlib.contextmanager
def _parquet(path: os.PathLike, findings: Sequence[str]) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema({name: pa.type_for_alias(kind) for name, kind in _columns(findings).items()})
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as file:

        def flush() -> None:
            file.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def write(prediction: Prediction) -> None:
            rows.append(_row(prediction, findings))
            if len(rows) == _ROWS:
                flush()

        yield write
        flush()


_OPEN = {"json": _json, "csv": _csv, "parquet": _parquet}


def _columns(findings: Sequence[str]) -> dict[str, str]:
    """Return the columns of a table with their types."""
    return {
        "path": "string",
        "label": "string",
        "probability": "float64",
        "threshold": "float64",
        "referred": "bool",
        "flags": "string",
        "reasons": "string",
        "error": "string",
        **dict.fromkeys(findings, "float64"),
    }


def _row(prediction: Prediction, findings: Sequence[str]) -> dict[str, Any]:
    row = prediction.to_dict()
    found = row.pop("findings") or {}
    return {
        **row,
        "flags": ";".join(row["flags"]),
        "reasons": "; ".join(row["reasons"].values()),
        **{name: found.get(name) for name in findings},
    }
