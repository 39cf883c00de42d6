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

    def rates_by_round(self, key: str, measurement: str) -> list[list[float]]:
        """Return the rate a second of each repeat, one list a round."""
        found = [each.get("measurements", {}).get(measurement) for each in self.rounds.get(key, [])]
        return [
            [one["count"] / seconds for seconds in one["seconds"]]
            for one in found
            if one and "seconds" in one
        ]

    def rates(self, key: str, measurement: str) -> list[float]:
        """Return the rate a second of each repeat of all rounds."""
        return [rate for each in self.rates_by_round(key, measurement) for rate in each]

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

    def drift(self) -> float | None:
        """Return the largest relative difference between the medians of two rounds.

        None if nothing was measured in more than one round.
        """
        ratios = []
        for key, rounds in self.rounds.items():
            for name in {name for each in rounds for name in each.get("measurements", {})}:
                medians = [statistics.median(each) for each in self.rates_by_round(key, name)]
                if len(medians) > 1:
                    ratios.append(max(medians) / min(medians) - 1.0)
        return max(ratios, default=None)
