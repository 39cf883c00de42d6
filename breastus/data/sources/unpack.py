"""Unpack Parquet files and zip archives: files in, class folders of images out, without masks."""

import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from tqdm import tqdm

from breastus.data.image_files import MAX_BYTES
from breastus.data.images import SUFFIXES, read_image
from breastus.data.masks import looks_like_mask
from breastus.data.sources.class_folders import is_mask
from breastus.data.sources.class_names import ClassNames
from breastus.data.sources.split_words import parse_split
from breastus.errors import DataWarning, HubError, ImageError
from breastus.utils.files import write_folder_aside

ARCHIVES = (".parquet", ".zip")

_LABEL_COLUMNS = ("label", "labels", "class", "category", "finding", "diagnosis")
_MAGIC = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8", ".jpg"),
    (b"BM", ".bmp"),
    (b"II*", ".tif"),
    (b"MM", ".tif"),
)
_ROWS = 64  # read at a time, to limit memory


def unpack(folder: Path, out: Path) -> Path:
    """Write the images of Parquet files or zip archives below `folder` as class folders.

    Returns:
        `out`, which is written atomically and kept if it exists already; or `folder` itself if it
        holds image files.

    Raises:
        HubError: if there are neither images nor archives, the classes are unknown, or an archive
            is damaged or unsafe.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {
        suffix: [path for path in files if path.suffix.lower() == suffix] for suffix in ARCHIVES
    }
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not any(found.values()):
        if images:
            return folder
        raise HubError(f"{folder} holds neither images nor Parquet files nor zip archives.")
    used = found[".parquet"] or found[".zip"]
    if unused := [path for path in (*found[".zip"], *images) if path not in used]:
        warnings.warn(
            f"{len(unused)} files beside {used[0].name} are not used, such as {unused[0].name}.",
            DataWarning,
            stacklevel=3,
        )
    if out.is_dir():
        return out
    with write_folder_aside(out) as aside:
        if found[".parquet"]:
            _write_parquet_files(used, folder, aside)
        else:
            for path in used:
                # Two archives may hold files of one name.
                _write_zip(path, aside / path.stem if len(used) > 1 else aside)
    return out


def _write_parquet_files(paths: list[Path], root: Path, out: Path) -> None:
    splits = [parse_split(*_split_words(path, root)) for path in paths]
    # If there is only one split, it holds everything, whatever its name.
    several = len(set(splits)) > 1
    rows = dict.fromkeys(splits, 0)  # so that the names of several files of a split differ
    for path, split in zip(paths, splits, strict=True):
        target = out / split if several and split else out
        rows[split] += _write_parquet(path, root, target, first=rows[split])


def _write_parquet(path: Path, root: Path, out: Path, *, first: int) -> int:
    """Write the images of one file, numbered from `first`; return its number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        image = next((name for name in names if _holds_images(file.schema_arrow.field(name))), None)
        label = next((name for name in _LABEL_COLUMNS if name in names), None)
        if image is None or label is None:
            raise HubError(
                f"{path} must have a column of images and one of {', '.join(_LABEL_COLUMNS)}. "
                f"Received: {', '.join(names)}"
            )
        classes = _class_names(file.schema_arrow, label, root)
        rows = _rows(file, image, label)
        count, lacking, masks = file.metadata.num_rows, 0, 0
        bar = tqdm(rows, f"unpacking {path.name}", count, leave=False, disable=None)
        for number, (data, name, value) in enumerate(bar, first):
            if data is None:
                lacking += 1
                continue
            original = PurePosixPath(name or "").stem
            if is_mask(original) or _is_mask(data):
                masks += 1
                continue
            parent = out / _class_of(value, classes, path)
            parent.mkdir(parents=True, exist_ok=True)
            suffix = next((end for start, end in _MAGIC if data.startswith(start)), ".png")
            stem = re.sub(r"[^\w() -]", "_", original) or path.stem
            (parent / f"{number:05d} {stem}{suffix}").write_bytes(data)
        if lacking:
            warnings.warn(
                f"{lacking} of {count} rows of {path} hold no image.", DataWarning, stacklevel=5
            )
        if masks:
            warnings.warn(
                f"{masks} of {count} rows of {path} hold lesion masks by their names or few grey "
                "levels. They are not used.",
                DataWarning,
                stacklevel=5,
            )
        return count
    except pa.ArrowException as error:
        raise HubError(f"{path} cannot be read as Parquet: {error}") from error


def _is_mask(data: bytes) -> bool:
    try:
        return looks_like_mask(read_image(data))
    except ImageError:
        return False  # kept, so that the manifest reports it


def _rows(file, image: str, label: str) -> Iterator[tuple[bytes | None, str | None, Any]]:
    for batch in file.iter_batches(batch_size=_ROWS, columns=[image, label]):
        for row in batch.to_pylist():
            cell = row[image]
            if not isinstance(cell, dict):
                cell = {"bytes": cell}
            yield cell["bytes"], cell.get("path"), row[label]


def _holds_images(field) -> bool:
    import pyarrow.types as types

    if "mask" in field.name.lower():
        return False
    if types.is_struct(field.type):
        return "bytes" in [inner.name for inner in field.type]
    return types.is_binary(field.type) or types.is_large_binary(field.type)


def _class_names(schema, label: str, root: Path) -> list[str] | None:
    """Return the class names from the Parquet schema, else from README.md."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(label, {})
    if "names" in feature:
        return feature["names"]
    readme = root / "README.md"
    parts = readme.read_text(encoding="utf-8").split("---") if readme.is_file() else []
    try:
        card = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
        infos = card.get("dataset_info", [])
        for info in infos if isinstance(infos, list) else [infos]:
            for column in info.get("features", []):
                if column.get("name") == label:
                    names = column["dtype"]["class_label"]["names"]
                    return [names[key] for key in sorted(names, key=int)]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        pass  # a card in another format names no classes
    return None


def _class_of(value: Any, classes: list[str] | None, path: Path) -> str:
    if isinstance(value, int) and classes is not None and 0 <= value < len(classes):
        value = classes[value]
    if isinstance(value, str) and ClassNames().parse(value):
        return value
    raise HubError(
        f"{path} has an unknown class: it must be lump, no_lump, benign, malignant "
        f"or normal. Received: {value!r}, class names {classes}"
    )


def _write_zip(path: Path, out: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = PurePosixPath(entry.filename)
                if entry.is_dir() or name.suffix.lower() not in SUFFIXES:
                    continue
                if name.is_absolute() or ".." in name.parts or "\\" in entry.filename:
                    raise HubError(f"{path} is unsafe: it would write outside its folder ({name}).")
                if entry.file_size > MAX_BYTES:
                    raise HubError(f"{path} holds a file that is too large ({name}).")
                if (target := out / name).exists():
                    raise HubError(f"{path} holds {name} twice.")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(entry))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise HubError(f"{path} cannot be unpacked: {error}") from error


def _split_words(path: Path, root: Path) -> tuple[str, ...]:
    # data/train-00000-of-00001.parquet, train/0000.parquet, busi_train.parquet
    relative = path.relative_to(root)
    return (*relative.parent.parts, *re.split(r"[-_.]", relative.stem))
