"""Every command and Python block of README and docs runs as written, on small simulated data.

Trainings get two changes that only shorten them: `TINY` settings, and three folds instead of five.
"""

import importlib
import itertools
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tiny_llava

import breastus
from breastus.cli.main import COMMANDS, main
from breastus.data.images import to_png
from breastus.phantoms.simulation import simulate_phantom

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
TINY = {"epochs": 1, "image_size": 112, "resamples": 100}
FLAGS = ["--epochs", "1", "--image-size", "112"]  # a multiple of 112 for Swins
# Needs a network, would change the environment, takes hours, or serves until it is interrupted.
SKIPPED = (
    *("git clone", "pip install", "pip wheel", "%pip", "source ", "python -m experiments"),
    "breastus demo",
)

pytestmark = pytest.mark.slow


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with the files that the pages name."""
    root = tmp_path_factory.mktemp("docs")
    findings = ("normal", "benign", "malignant")

    def phantom(seed: int, number: int, finding: str) -> bytes:
        image = simulate_phantom(seed, number, finding=finding).image
        return to_png(np.repeat(image[..., None], 3, axis=-1))

    def write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    for seed, folder in enumerate(("BUSI", "images")):
        for number in range(48):
            finding = findings[number % 3]
            stem = root / "path/to" / folder / finding / f"{finding} ({number})"
            write(stem.with_suffix(".png"), phantom(seed, number, finding))
            if folder == "BUSI" and finding != "normal":
                mask = simulate_phantom(seed, number, finding=finding).mask
                write(stem.with_name(f"{stem.name}_mask.png"), to_png(mask))
    for number in range(48):
        folder, finding = (("healthy", "normal"), ("cancer", "malignant"))[number % 2]
        write(root / "my_images" / folder / f"{number}.png", phantom(4, number, finding))
    rows = ["Image;Label;Doppler;Marks;Combined"]
    for number in range(120):
        finding, patient = findings[number % 3], "ABCDEFGHIJKLMNOPQRST"[number // 6] * 4
        name = f"{patient}_{number:03d}.png"
        write(root / "path/to/BUS-UCLM/images" / name, phantom(9, number, finding))
        rows.append(f"{name};{finding.capitalize()};No;No;No")
        mask = simulate_phantom(9, number, finding=finding).mask
        write(root / "path/to/BUS-UCLM/masks" / name, to_png(mask))
    (root / "path/to/BUS-UCLM/INFO.csv").write_text("\n".join(rows) + "\n", encoding="utf-8-sig")
    for number, name in enumerate(("image.png", "image1.png", "image2.png")):
        write(root / name, phantom(3, number, "benign"))
    (root / "more.csv").write_text("path,label\nimage1.png,lump\nimage2.png,lump\n")
    images = sorted((root / "path/to/images").rglob("*.png"))
    split = [f"{path.stem},{('train', 'val', 'test')[n % 3]}" for n, path in enumerate(images)]
    (root / "my_split.csv").write_text("\n".join(["image_id,split", *split]) + "\n")
    rows = [f"{path.stem},0.{10 + n}" for n, path in enumerate(images)]
    tested = [row for n, row in enumerate(rows) if n % 3 == 2]
    (root / "my_predictions.csv").write_text("\n".join(["image_id,probability", *tested]) + "\n")
    names = [path.stem for path in (root / "path/to/BUSI").rglob("*).png")]
    rows = [f"{name},0.{10 + n}" for n, name in enumerate(names)]
    (root / "predictions.csv").write_text("\n".join(["image_id,probability", *rows]) + "\n")
    _write_dicom(root / "path/to/dicom")
    tiny_llava.write_original(root / "path/to/llava-med")
    (root / "history.txt").write_text("48 years, palpable lump in the left breast")
    for _, code in [block for page in PAGES for block in blocks(page)]:
        if name := re.match(r"# (\w+\.py)\n", code):
            (root / name[1]).write_text(code)
    return root


def _write_dicom(root: Path) -> None:
    dicom_maker = pytest.importorskip("dicom_maker")
    for number in range(24):
        label = ("lump", "no_lump")[number % 2]
        pixels = simulate_phantom(5, number, finding=("benign", "normal")[number % 2]).image
        path = root / label / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        uids = {"StudyInstanceUID": f"1.2.{number + 1}", "SeriesInstanceUID": f"1.3.{number + 1}"}
        path.write_bytes(dicom_maker.dicom(pixels, PatientID=str(number), **uids))


@pytest.fixture
def inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("BREASTUS_CACHE", str(workspace / "cache"))
    monkeypatch.syspath_prepend(str(workspace))
    train = breastus.train
    monkeypatch.setattr(
        breastus, "train", lambda *names, **settings: train(*names, **{**settings, **TINY})
    )
    return workspace


@pytest.mark.parametrize("page", PAGES)
def test_commands_run_as_written(page, inside, monkeypatch):
    for kind, code in blocks(page):
        if kind == "python":
            if not re.match(r"# \w+\.py\n", code):
                _run_python(code, inside)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            _run_line(line)


def test_examples_of_the_help_run_as_written(inside):
    for module, _ in COMMANDS.values():
        for example in importlib.import_module(module).EXAMPLES:
            _run_line(example)


def _run_python(code: str, folder: Path) -> None:
    code = "\n".join(line for line in code.splitlines() if not line.startswith("%"))
    # Paths of Colab exist nowhere else.
    code = code.replace("/content/drive/MyDrive/", "colab/").replace("/content/", "path/to/")
    _need_model("efficientnet_lite0")
    exec(compile(code, str(folder), "exec"), {})


def _run_line(line: str) -> None:
    line = line.split(" && ")[-1].strip()
    words = shlex.split(line, comments=True)
    if not words or line.startswith(SKIPPED) or "git clone" in line or words[0] == "cd":
        return
    if words[0] == "make":
        subprocess.run(
            ["make", "--directory", ROOT, "--dry-run", *words[1:]], check=True, capture_output=True
        )
        return
    assert words[0] == "breastus", line
    arguments = words[1:]
    if "COMMAND" in arguments or "NETWORK" in arguments:
        return
    if arguments[0] in ("train", "pretrain"):
        # Hidden patches of 32 pixels must fit the images of a pretraining.
        arguments += FLAGS if arguments[0] == "train" else FLAGS[:2]
        for option, value in (("--folds", "3"), ("--repeats", "1")):
            if option in arguments:
                arguments[arguments.index(option) + 1] = value
        arguments += ["--set", "evaluation.resamples=100"]
    for option, name in itertools.pairwise(arguments):
        written = option in ("--out", "--publish")  # by the command itself, or by the one before it
        if written or Path(name).exists():
            continue
        if found := re.match(r"(runs|models)/([a-z_0-9]+?)(-cv)?(?:/|$)", name):
            _need_model(found[2], folds=bool(found[3]))
    # A command that is repeated on another page must not meet its own output.
    if "--out" in arguments and arguments[0] in ("export", "pretrain", "data", "explain"):
        shutil.rmtree(arguments[arguments.index("--out") + 1], ignore_errors=True)
    if "--dicom" in arguments:
        shutil.rmtree(arguments[arguments.index("--dicom") + 1], ignore_errors=True)
    if arguments[0] == "splits" and "--out" in arguments:
        Path(arguments[arguments.index("--out") + 1]).unlink(missing_ok=True)
    # As many folds as the trainings have.
    arguments = [name.replace("data.folds=10", "data.folds=3") for name in arguments]
    if arguments[0] == "score" and "--splits" not in arguments:
        # Phantoms have no named split.
        folds = 3 if arguments[1].startswith("runs/") else 5
        if not Path(f"unnamed-{folds}.csv").exists():
            breastus.export_splits("path/to/BUSI", out=f"unnamed-{folds}.csv", folds=folds)
        arguments += ["--splits", f"unnamed-{folds}.csv"]
    if arguments[:2] == ["data", "prepare"] and "--out" not in arguments:
        shutil.rmtree("data/prepared", ignore_errors=True)
    if "--recalibrated" in arguments and not Path(arguments[3]).exists():
        pytest.fail(f"{arguments[3]} does not exist: {line}")
    assert main(arguments) == 0, line


def _need_model(network: str, *, folds: bool = False) -> None:
    """Train a network once, if no page has done so."""
    folder = Path("runs", network + ("-cv" if folds else ""))
    arguments = ["train", network, "--data", "path/to/BUSI", "--out", str(folder), *FLAGS]
    arguments += ["--set", "evaluation.resamples=100"]
    if folds and not folder.exists():
        assert main([*arguments, "--folds", "3", "--repeats", "1"]) == 0
    elif not folds and not (folder / "bundle").exists():
        assert main(arguments) == 0
    if not folds and not Path("models", network).exists():
        shutil.copytree(folder / "bundle", Path("models", network))
