"""Read one image file safely: a path or bytes in, checked pixels out.

The file is a picture or a DICOM file, of which one frame is named `scan.dcm#frame=12`. Files are
decoded here alone. Manifest, training, masks and `Predictor` hand these pixels to the TensorFlow
graph, so no file can look different there, or fail to decode there.
"""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from breastus.data.dicom.files import SUFFIXES as DICOM_SUFFIXES
from breastus.data.dicom.files import is_dicom, split_frame
from breastus.data.image_files import MAX_PIXELS, read_bytes
from breastus.data.orientation import ORIENTATION_TAG, file_orientation, upright
from breastus.errors import DataError, ImageError

_PICTURES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp")
SUFFIXES = (*_PICTURES, *DICOM_SUFFIXES)

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_SIMULATED = ("Description", "simulated by breastus, not a patient")  # PNG text of phantoms
_BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339  # tags of TIFF 6.0
_WHITE_IS_ZERO, _IN_PLANES, _SIGNED = 0, 2, 2
_LOSSY = ("JPEG", "MPO", "WEBP")  # MPO is what Pillow calls a JPEG with a second view


@dataclass(frozen=True)
class ImageFile:
    """One image file, checked and decoded.

    Alpha is dropped. Of values with more bits the 8 highest are kept, of the 12 or 16 bits that the
    file states.
    """

    pixels: np.ndarray  # uint8 [H, W, 3], RGB, upright
    sha256: str  # of the original file
    simulated: bool = False  # declares itself a phantom
    lossy: bool = False  # its compression changes grey levels
    flags: tuple[str, ...] = ()  # stated by the header of a DICOM file, as `DicomFile.flags`

    @classmethod
    def read(cls, source: str | os.PathLike | bytes) -> "ImageFile":
        """Read a PNG, JPEG, BMP, TIFF, WebP or DICOM file, from a path or as bytes.

        Of several pages, views or moving pictures the first is read.

        The path of a DICOM file with several frames must end in `#frame=12`, counted from 1. Its
        frames are cropped to the B-mode region.

        Raises:
            ImageError: when the file is missing, unreadable, empty, truncated, no image, or larger
                than `MAX_PIXELS` or `MAX_BYTES`. The message names the file.
        """
        name, frame = "the image", None
        if isinstance(source, bytes):
            data, suffix = source, ""
        else:
            name = os.fspath(source)
            file, frame = split_frame(name)
            data, suffix = read_bytes(Path(file)), Path(file).suffix
        if not data:
            raise ImageError(f"{name} is empty. Export or copy it again.")
        if is_dicom(data, suffix):
            return cls._of_dicom(name, data, frame)
        if frame is not None:
            raise ImageError(f"{name} names a frame, but only DICOM files have frames.")
        try:
            pixels, image = _decode(name, data)
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            if data.startswith((b"II*\0", b"MM\0*")):
                raise ImageError(
                    f"{name} is a TIFF file in a form that cannot be read, such as 10, 14 or 64 "
                    "bits, or damaged. Export it with 8 or 16 bits."
                ) from error
            raise ImageError(
                f"{name} is not a PNG, JPEG, BMP, TIFF, WebP or DICOM image."
            ) from error
        # Damaged files make Pillow raise almost anything, from struct.error to SyntaxError.
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise ImageError(f"{name} is damaged: {reason}. Export or copy it again.") from error
        return cls(
            pixels,
            hashlib.sha256(data).hexdigest(),
            simulated=image.info.get(_SIMULATED[0]) == _SIMULATED[1],
            lossy=image.format in _LOSSY or image.info.get("compression") == "jpeg",
        )

    @classmethod
    def _of_dicom(cls, name: str, data: bytes, frame: int | None) -> "ImageFile":
        from breastus.data.dicom.dicom_file import DicomFile

        file = DicomFile.read(data, name=name)
        if frame is None and file.frames > 1:
            raise ImageError(
                f"{name}: (0028,0008) NumberOfFrames is {file.frames}. Name one of them, such as "
                f"the middle one: {name}#frame={(file.frames + 1) // 2}"
            )
        pixels = file.frame(frame if frame is not None else 1)
        return cls(pixels, hashlib.sha256(data).hexdigest(), flags=file.flags)


def read_image(source: str | os.PathLike | bytes) -> np.ndarray:
    """Return the pixels of an image file, uint8 [H, W, 3]. Raises as `ImageFile.read`."""
    return ImageFile.read(source).pixels


def read_unchanged(path: str | os.PathLike, sha256: str) -> np.ndarray:
    """Return the pixels of a file as `read_image`; raise DataError unless it has this SHA-256."""
    file = ImageFile.read(path)
    if file.sha256 != sha256:
        raise DataError(
            f"{path} has changed since it was predicted. Restore the old file, or evaluate again."
        )
    return file.pixels


def to_png(pixels: np.ndarray, *, side: int | None = None, simulated: bool = False) -> bytes:
    """Encode uint8 [H, W] or [H, W, 3] as PNG, shrunk to fit a square of `side` pixels if given.

    A `simulated` file declares itself a phantom, also after it is copied.
    """
    image = Image.fromarray(pixels)
    if side is not None:
        image.thumbnail((side, side))
    buffer, text = io.BytesIO(), PngImagePlugin.PngInfo()
    if simulated:
        text.add_text(*_SIMULATED)
    image.save(buffer, "PNG", compress_level=1, pnginfo=text)
    return buffer.getvalue()


def _decode(name: str, data: bytes) -> tuple[np.ndarray, Image.Image]:
    """Return pixels, and the image as Pillow decodes it."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, "more than 89 million") from error
    # Only the header has been read so far, so nothing large is allocated.
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"{image.width} x {image.height}")
    if image.format in ("PNG", "JPEG", "MPO"):
        return upright(_rgb_pixels(image, name), file_orientation(data)), image
    return upright_pixels(image, name), image


def upright_pixels(image: Image.Image, name: str = "The image") -> np.ndarray:
    """Return the pixels of a Pillow image, uint8 [H, W, 3], turned upright.

    It raises ImageError when the scale of its values is unknown, and on damage almost anything.
    """
    image.load()  # turns a TIFF, and takes its orientation away
    return upright(_rgb_pixels(image, name), image.getexif().get(ORIENTATION_TAG, 1))


def _rgb_pixels(image: Image.Image, name: str) -> np.ndarray:
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F" or (tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED and image.mode != "I"):
        kind = "floating-point" if image.mode == "F" else "signed"
        raise _unknown_scale(name, f"{kind} values")
    if tags.get(_PLANAR) == _IN_PLANES and len(image.getbands()) > 1 and tags[_BITS][0] > 8:
        # Pillow reads such planes as if they had 8 bits.
        raise ImageError(
            f"{name} has colours in planes of {tags[_BITS][0]} bits, which cannot be read. Export "
            "it with 8 bits."
        )
    if image.mode.startswith("I"):
        # Pillow's own conversion clips at 255.
        levels = np.asarray(image).astype(np.int64)
        bits = tags.get(_BITS, (16,))[0]
        if image.mode == "I":  # 32 bits, or 16 with a sign: values of 8 bits are taken for what
            bits = 8  # they are, others could have any scale
            if levels.min() < 0 or levels.max() > 255:
                raise _unknown_scale(name, f"values of {levels.min()} to {levels.max()} in 32 bits")
        grey = (levels >> bits - 8).astype(np.uint8)
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow regards it for 8 bits only
            grey = 255 - grey
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO"):
        # As TensorFlow converts it; Pillow rounds, where TensorFlow cuts off.
        inks = 255 - np.asarray(image).astype(np.uint16)
        return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def _unknown_scale(name: str, received: str) -> ImageError:
    return ImageError(
        f"{name} has values whose scale is unknown. Export it with 8 or 16 bits. "
        f"Received: {received}"
    )


def _too_large(name: str, received: str) -> ImageError:
    return ImageError(
        f"{name} is too large: an image may have {MAX_PIXELS // 10**6} million pixels. Crop or "
        f"shrink it. Received: {received}"
    )
