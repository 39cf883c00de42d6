"""The figures of a benchmark in one JSON file, written after every measurement.

A run that is broken off loses nothing: the next one replaces what it measures again and keeps the
rest, unless that came from another machine or other versions.
"""

import json
import statistics
from pathlib import Path
from typing import Any

from breastus.errors import RunError
from breastus.utils.files import write_json


class Results:
    """What was measured so far, by the key of the variant.

    Args:
        path: the JSON file; it need not exist.
        where: machine and versions that figures must come from to stand beside new ones.
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
                raise RunError(f"{path} is no benchmark's results: {error}. Remove it.") from error

    def forget(self, key: str) -> None:
        """Drop a variant's figures, as new ones are to come."""
        self.rounds.pop(key, None)

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Keep one round of a variant, and write the file."""
        self.rounds.setdefault(key, []).append(result)
        write_json(self.path, {"where": self.where, "rounds": self.rounds})

    def rates(self, key: str, measurement: str) -> list[float]:
        """Return how much a variant did a second, one number a repeat, all rounds together."""
        return [rate for each in self.rates_by_round(key, measurement) for rate in each]

    def rates_by_round(self, key: str, measurement: str) -> list[list[float]]:
        """Return the same, one list a round."""
        found = [each.get("measurements", {}).get(measurement) for each in self.rounds.get(key, [])]
        return [
            [one["count"] / seconds for seconds in one["seconds"]]
            for one in found
            if one and "seconds" in one
        ]

    def median(self, key: str, measurement: str) -> float | None:
        """Return the median of `rates`, or None where there are none."""
        rates = self.rates(key, measurement)
        return statistics.median(rates) if rates else None

    def error(self, key: str, measurement: str) -> str | None:
        """Return why a variant has no figures, or None."""
        for each in self.rounds.get(key, []):
            said = each.get("error") or each["measurements"].get(measurement, {}).get("error")
            if said:
                return said
        return None

    def drift(self) -> float | None:
        """Return by what share the medians of a variant's rounds differ, for the worst variant.

        None when nothing was measured in more than one round.
        """
        ratios = []
        for key, rounds in self.rounds.items():
            for name in {name for each in rounds for name in each.get("measurements", {})}:
                medians = [statistics.median(each) for each in self.rates_by_round(key, name)]
                if len(medians) > 1:
                    ratios.append(max(medians) / min(medians) - 1.0)
        return max(ratios, default=None)
