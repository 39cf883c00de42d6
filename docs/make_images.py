"""Make the pictures of README and docs: `python docs/make_images.py BUSI RUN`.

    audit.jpg   near-duplicates that `breastus data audit` finds in BUSI (CC0), side by side
    report.png  the top of the report of RUN, a run on BUSI
    front.jpg   both, for the README

Needs Chromium and `pip install playwright` for the report; each picture stays below 200 kB.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

IMAGES = Path(__file__).parent / "images"
CHROMIUM = "/usr/bin/chromium"
TILE = (300, 230)  # pixels of one image
GAP, LABEL = 6, 26
_COLORS = {"normal": (0, 110, 90), "benign": (60, 60, 60), "malignant": (176, 32, 32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("busi", type=Path, help="folder of BUSI, as released")
    parser.add_argument("run", type=Path, help="a finished run folder")
    args = parser.parse_args()
    audit = near_duplicates(args.busi)
    report = report_top(args.run / "report.html")
    save(audit, "audit.jpg")
    save(report, "report.jpg")
    save(beside(audit, report), "front.jpg")


def near_duplicates(busi: Path, count: int = 3) -> Image.Image:
    """Return pairs of near-duplicates whose findings contradict each other, a row each."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "audit.html")
        command = [sys.executable, "-m", "breastus", "data", "audit"]
        subprocess.run([*command, "--data", busi, "--out", page], check=True)
        pairs = pd.read_csv(next(Path(folder).glob("*.csv")))
    first, second = (name for name in pairs.columns if name.endswith("image_id") or "_id" in name)
    files = {path.stem: path for path in busi.rglob("*.png") if "_mask" not in path.stem}
    names = pairs[[first, second]].map(lambda name: name.rpartition("/")[2])
    chosen, used = [], set()
    for normal in (True, False):  # lump against no lump first, then benign against malignant
        for pair in names.itertuples(index=False):
            findings = {name.partition(" ")[0] for name in pair}
            if len(findings) == 2 and ("normal" in findings) == normal and not used & set(pair):
                chosen.append(sorted(pair))
                used |= set(pair)
    chosen = [chosen[0], *chosen[-1:-count:-1]]

    width, height = 2 * TILE[0] + GAP, TILE[1] + LABEL
    sheet = Image.new("RGB", (width, len(chosen) * (height + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, pair in enumerate(chosen):
        for column, name in enumerate(pair):
            left, top = column * (TILE[0] + GAP), row * (height + GAP)
            image = Image.open(files[name]).convert("RGB")
            sheet.paste(image.resize(TILE, Image.Resampling.LANCZOS), (left, top + LABEL))
            color = _COLORS[name.partition(" ")[0]]
            draw.text((left + 2, top + 4), name, fill=color, font=font)
    return sheet


def report_top(page: Path, width: int = 1000, height: int = 1020) -> Image.Image:
    """Return the top of a report as Chromium draws it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": width, "height": height})
        view.goto(page.resolve().as_uri())
        # BUSI is in the public domain, and the top of the page shows none of its images.
        view.evaluate("document.querySelector('.notice')?.remove()")
        picture = Path(folder, "report.png")
        view.screenshot(path=picture)
        browser.close()
        return Image.open(picture).convert("RGB")


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return two pictures side by side at the height of the left one."""
    right = right.resize(
        (round(right.width * left.height / right.height), left.height), Image.Resampling.LANCZOS
    )
    sheet = Image.new("RGB", (left.width + 24 + right.width, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + 24, 0))
    return sheet


def save(image: Image.Image, name: str, largest: int = 200_000) -> None:
    """Write a JPEG of the highest quality that stays below `largest` bytes."""
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / name
    for quality in range(92, 30, -3):
        image.save(path, quality=quality, optimize=True, subsampling=0)
        if path.stat().st_size < largest:
            break
    print(f"{path}: {image.width} x {image.height}, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
