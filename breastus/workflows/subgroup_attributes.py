"""Attributes that form subgroups of images: a manifest in, a table out."""

import math
from collections.abc import Iterable

import pandas as pd

from breastus.data.masks import lesion_area_fraction
from breastus.errors import ImageError


def subgroup_attributes(manifest: pd.DataFrame, image_ids: Iterable[str]) -> pd.DataFrame:
    """Return `image_id`, `source`, `flags` and `lesion_area_fraction` of some images."""
    rows = manifest[manifest["image_id"].isin(set(image_ids))]
    sizes = zip(rows["mask_paths"], rows["height"], rows["width"], strict=True)
    fractions = [_lesion_area_fraction(masks, (height, width)) for masks, height, width in sizes]
    return rows[["image_id", "source", "flags"]].assign(lesion_area_fraction=fractions)


def _lesion_area_fraction(mask_paths: str, size: tuple[int, int]) -> float:
    try:
        return lesion_area_fraction([path for path in mask_paths.split(";") if path], size)
    except ImageError:  # the mask was moved or damaged since: the size is unknown
        return math.nan
