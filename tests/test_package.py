"""The package as a whole: what importing it does, what imports what, the labels and the errors."""

import ast
import graphlib
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
    ["auditing"],
    ["runs"],
    ["training"],
    ["explain"],
    ["deploy"],
    ["vlm"],
    ["reporting"],
    ["workflows"],
    ["cli"],
]


def _imports() -> dict[str, set[str]]:
    """Return each module of the package with the modules it imports, inside functions too."""
    modules = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in ROOT.rglob("*.py")
    }
    found = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= parts & set(modules) or {node.module}
        found[name] &= set(modules) - {name}
    return found


def test_rooms_import_only_from_rooms_above():
    rank = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
    against_the_order = [
        f"{importer} imports {imported}"
        for importer, others in _imports().items()
        for imported in others
        if importer.count(".")
        and imported.count(".")  # not the package itself
        and (own := importer.split(".")[1]) != (other := imported.split(".")[1])
        and own != "__main__"
        and rank[other] >= rank[own]
    ]
    assert not against_the_order


def test_modules_do_not_import_each_other_in_circles():
    graphlib.TopologicalSorter(_imports()).prepare()  # raises a CycleError that names them


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
