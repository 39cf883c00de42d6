"""Places in RESULTS.md and README.md that scripts write: between two comments with a name.

<!-- begin study -->
what was between them is written anew
<!-- end study -->
"""

from pathlib import Path

from breastus.utils.files import write_text


def write_between(path: Path, name: str, text: str) -> None:
    """Put a text between the two comments that name its place; at the end, if there are none."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    old = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    if begin not in old:
        old = f"{old.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = old.partition(begin)
    write_text(path, f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
