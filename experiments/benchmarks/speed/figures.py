"""The figures of the speed benchmark: one JSON file, written after every measurement.

An interrupted benchmark loses nothing. The next one replaces what it measures again and keeps all
other figures, unless they come from another machine or other versions.
"""

import json
import statistics
from pathlib import Path
from typing import Any

from breastus.errors import RunError
from breastus.utils.files import write_json


class Figures:
    """All measurements, by the key of the variant.

    Args:
        path: JSON file; it need not exist.
        where: machine and versions that all figures must share.
    """

    def __init__(self, path: Path, where: dict[str, Any]):
        self.path = path
        self.where = where
        self.rounds: dict[str, list[dict[str, Any]]] = {}
        if path.exists():
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                if kept["where"] == where:
                    self.rounds = kept["rounds"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{path} does not hold figures of this benchmark: {error}. Remove it."
                ) from error

    def forget(self, key: str) -> None:
        """Drop the figures of a variant before it is measured again."""
        self.rounds.pop(key, None)

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Add one round of a variant, and write the file."""
        self.rounds.setdefault(key, []).append(result)
        write_json(self.path, {"where": self.where, "rounds": self.rounds})

    def rates(self, key: str, measurement: str) -> list[float]:
        """Return the rate a second of each repeat of all rounds."""
        found = [each.get("measurements", {}).get(measurement) for each in self.rounds.get(key, [])]
        return [
            one["count"] / seconds
            for one in found
            if one and "seconds" in one
            for seconds in one["seconds"]
        ]

    def median(self, key: str, measurement: str) -> float | None:
        """Return the median rate a second, or None without figures."""
        rates = self.rates(key, measurement)
        return statistics.median(rates) if rates else None

    def error(self, key: str, measurement: str) -> str | None:
        """Return the error message of a variant without figures, or None."""
        for each in self.rounds.get(key, []):
            error = each.get("error") or each["measurements"].get(measurement, {}).get("error")
            if error:
                return error
        return None
