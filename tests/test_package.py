"""The package as a whole: what importing it does, what imports what, the labels and the errors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import breastus
from breastus import errors, labels

ROOT = Path(breastus.__file__).parent
# Each room may import from the rooms above it only. In short, the way of the data.
ORDER = [
    ["labels", "errors"],
    ["config"],
    ["utils"],
    ["phantoms"],
    ["data"],
    ["preprocessing"],
    ["augmentation"],
    ["models"],
    ["evaluation"],
    ["audit"],
    ["runs"],
    ["training"],
    ["deploy"],
    ["reporting"],
    ["workflows"],
    ["cli"],
]


def _modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem[0] != "_")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("breastus."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("breastus.")}
    return found


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_way_of_the_data(path):
    rank = {name: number for number, names in enumerate(ORDER) for name in names}
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for other in _imports(path):
        assert other == own or rank[other] < rank[own], f"{own} must not import {other}"


def test_importing_breastus_and_showing_help_leaves_the_heavy_packages_alone():
    code = (
        "import sys, breastus\n"
        "from breastus.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pandas', 'sklearn', 'cv2', 'matplotlib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_public_names_are_there():
    for name in breastus.__all__:
        assert getattr(breastus, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = breastus.trian


def test_labels():
    assert labels.LABELS == ("no_lump", "lump")
    assert labels.label_id("lump") == 1
    assert [labels.label_of_finding(f) for f in labels.FINDINGS] == ["no_lump", "lump", "lump", ""]
    with pytest.raises(ValueError, match="Received: label=''"):
        labels.label_id("")


def test_every_error_and_warning_is_in_the_tree():
    tree = errors.__doc__
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert name in tree
            assert issubclass(value, errors.BreastusError | errors.BreastusWarning)
