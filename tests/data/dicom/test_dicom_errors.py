"""Damaged and unsupported DICOM files: an error names the element, and never a person."""

import io
import logging
import sys
import traceback
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from dicom_maker import MARKER, compressed, dataset, dicom, encoded, region
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from breastus.data.dicom.dicom_file import DicomFile
from breastus.data.dicom.privacy import attempt
from breastus.data.images import ImageFile, read_image
from breastus.errors import ImageError

GREY = np.arange(200, dtype=np.uint8).reshape(10, 20)
COLOR = np.repeat(GREY[..., None], 3, axis=-1)


def jpeg(pixels: np.ndarray, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def codestream(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG2000", no_jp2=True)
    return buffer.getvalue()


def table(descriptor: list[int], entries: list[int]) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData, item.ModalityLUTType = descriptor, entries, "US"
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return item


def without(keyword: str) -> bytes:
    return dicom(GREY, **{keyword: None})


WRONG = {
    "of another modality": (
        dicom(GREY, Modality="MG"),
        r"\(0008,0060\) Modality must be US.* Received: MG",
    ),
    "a capture of unknown origin": (
        dicom(GREY, Modality="OT", SOPClassUID=SecondaryCaptureImageStorage),
        r"\(0008,0060\) Modality must be US.* Received: OT",
    ),
    "without modality": (without("Modality"), r"\(0008,0060\) Modality"),
    "without pixels": (
        dicom(GREY, PixelData=None),
        r"\(7FE0,0010\) PixelData is missing: the file holds no image",
    ),
    "with empty pixels": (dicom(GREY, PixelData=b""), r"\(7FE0,0010\) PixelData is missing"),
    "truncated": (dicom(GREY)[:-7], r"PixelData must have 200 bytes.* Received: 193"),
    "too long": (
        dicom(GREY, PixelData=bytes(300)),
        r"PixelData must have 200 bytes.* Received: 300",
    ),
    "frames that are not there": (
        dicom(GREY, NumberOfFrames=3, Rows=10, PixelData=bytes(400)),
        r"PixelData must have 600 bytes.* Received: 400",
    ),
    "a bomb of frames": (
        dicom(GREY, NumberOfFrames=2_000_000_000, Rows=10),
        r"\(0028,0008\) NumberOfFrames must be 1 to 10000. Received: 2000000000",
    ),
    "a bomb of pixels": (
        dicom(GREY, Rows=60000, Columns=60000),
        r"\(0028,0010\) Rows times Columns may be 50 million .* Received: 60000 x 60000",
    ),
    "no rows": (dicom(GREY, Rows=0), r"\(0028,0010\) Rows must be 1 to 65535. Received: 0"),
    "without columns": (without("Columns"), r"\(0028,0011\) Columns .* Received: nothing"),
    "32 bits": (
        dicom(GREY, BitsAllocated=32),
        r"\(0028,0100\) BitsAllocated must be 8 or 16. Received: 32",
    ),
    "bits that do not fit": (
        dicom(GREY, BitsStored=12),
        r"\(0028,0101\) BitsStored must be 1 to 8. Received: 12",
    ),
    "bits elsewhere": (
        dicom(GREY, BitsStored=6, HighBit=7),
        r"\(0028,0102\) HighBit must be 5. Received: 7",
    ),
    "signed colours": (
        dicom(COLOR, PixelRepresentation=1),
        r"\(0028,0103\) PixelRepresentation must be 0. Received: 1",
    ),
    "one sample of colour": (
        dicom(GREY, PhotometricInterpretation="RGB"),
        r"\(0028,0002\) SamplesPerPixel must be 3. Received: 1",
    ),
    "unknown colours": (
        dicom(GREY, PhotometricInterpretation=MARKER),
        r"\(0028,0004\) PhotometricInterpretation must be one of MONOCHROME1",
    ),
    "without a palette": (
        dicom(GREY, PhotometricInterpretation="PALETTE COLOR"),
        r"\(0028,1101\) RedPaletteColorLookupTableDescriptor must be three numbers",
    ),
    "a short palette": (
        dicom(
            GREY,
            PhotometricInterpretation="PALETTE COLOR",
            RedPaletteColorLookupTableDescriptor=[256, 0, 8],
            RedPaletteColorLookupTableData=bytes(100),
        ),
        r"\(0028,1201\) RedPaletteColorLookupTableData does not hold",
    ),
    "half a window": (
        dicom(GREY, WindowCenter=5),
        r"\(0028,1051\) WindowWidth must be given with WindowCenter",
    ),
    "a window of nothing": (
        dicom(GREY, WindowCenter=5, WindowWidth=0),
        r"\(0028,1051\) WindowWidth .* at least 1",
    ),
    "a flat slope": (
        dicom(GREY, RescaleSlope=0, RescaleIntercept=5),
        r"\(0028,1053\) RescaleSlope",
    ),
    "a short table": (
        dicom(GREY, VOILUTSequence=[table([4, 0, 16], [1, 2, 3])]),
        r"\(0028,3006\) LUTData does not hold",
    ),
    "a table of one value": (
        dicom(GREY, ModalityLUTSequence=[table([2, 0, 16], [7, 7])]),
        r"\(0028,3000\) ModalityLUTSequence",
    ),
    "colours that take JPEG 2000": (
        dicom(COLOR, PhotometricInterpretation="YBR_ICT"),
        r"\(0028,0004\) PhotometricInterpretation .* Received: YBR_ICT",
    ),
    "lossless JPEG": (
        compressed([b"\xff\xd8"], GREY, syntax=JPEGLosslessSV1),
        r"\(0002,0010\) TransferSyntaxUID .*gdcmconv.* Received: 1.2.840.10008.1.2.4.70",
    ),
    "a damaged JPEG": (
        compressed([jpeg(GREY)[:300]], GREY, syntax=JPEGBaseline8Bit),
        r"\(7FE0,0010\) PixelData of frame 1 is damaged",
    ),
    "a JPEG of another size": (
        compressed([jpeg(GREY[:5])], GREY, syntax=JPEGBaseline8Bit),
        r"frame 1 has another size than Rows and Columns say",
    ),
    "a JPEG in colour": (
        compressed([jpeg(COLOR)], GREY, syntax=JPEGBaseline8Bit),
        r"frame 1 is not a JPEG with SamplesPerPixel=1",
    ),
    "a damaged JPEG 2000": (
        compressed([jpeg(GREY, "JPEG2000")[:200]], GREY, syntax=JPEG2000Lossless),
        r"\(7FE0,0010\) PixelData of frame 1 is truncated",
    ),
    "a JP2 file": (
        compressed([jpeg(GREY, "JPEG2000")], GREY, syntax=JPEG2000Lossless),
        r"\(7FE0,0010\) PixelData of frame 1 is no JPEG 2000 codestream",
    ),
    "more bits than stored": (
        compressed([codestream(GREY)], GREY, syntax=JPEG2000Lossless, BitsStored=7),
        r"frame 1 has more bits than BitsStored says",
    ),
    "RLE outside its data": (
        compressed([b"\1\0\0\0\xff\xff" + bytes(60)], GREY, syntax=RLELossless),
        r"frame 1 has an RLE segment that lies outside its data",
    ),
    "colours of few bits": (
        dicom(COLOR, BitsStored=6),
        r"\(0028,0101\) BitsStored must be 8. Received: 6",
    ),
    "a slope without an intercept": (dicom(GREY, RescaleSlope=2), r"\(0028,1053\) RescaleSlope"),
    "RLE without segments": (
        compressed([bytes(64)], GREY, syntax=RLELossless),
        r"frame 1 has another number of RLE segments",
    ),
    "fragments that do not end": (
        dicom(GREY, syntax=RLELossless, PixelData=b"\xfe\xff\x00\xe0\xff\xff\xff\x7f"),
        r"frame 1 has damaged fragments",
    ),
    "nothing but a preamble": (bytes(128) + b"DICM", "not a DICOM file"),
    "noise behind a preamble": (
        bytes(128) + b"DICM" + np.random.default_rng(1).bytes(4000),
        "is not a DICOM file|damaged",
    ),
}


@pytest.mark.parametrize(("data", "message"), WRONG.values(), ids=WRONG.keys())
def test_errors_name_the_element(tmp_path, data, message):
    path = tmp_path / "scan.dcm"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))


def test_fewer_fragments_than_frames(tmp_path):
    stored = encapsulate([jpeg(GREY)])
    path = tmp_path / "scan"
    path.write_bytes(
        dicom(np.stack([GREY] * 3), NumberOfFrames=3, syntax=JPEGBaseline8Bit, PixelData=stored)
    )
    with pytest.raises(ImageError, match="frame 1 has fewer fragments than NumberOfFrames says"):
        read_image(f"{path}#frame=1")


def test_a_dicomdir_is_refused():
    made = dataset(GREY, SOPClassUID="1.2.840.10008.1.3.10", PixelData=None)
    with pytest.raises(ImageError, match="is a DICOMDIR"):
        read_image(encoded(made))


@pytest.mark.parametrize("header_only", [True, False])
def test_a_deflated_bomb_is_not_inflated(tmp_path, header_only):
    made = dataset(GREY)
    head = encoded(made)
    syntax = made.file_meta.TransferSyntaxUID.encode()
    at = head.index(syntax)
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    packer = zlib.compressobj(wbits=-15)
    bomb = packer.compress(bytes(60 * 2**20)) + packer.flush()
    # The header, up to the data set, with the transfer syntax changed.
    length = 22
    meta = head[: at - 2] + length.to_bytes(2, "little") + b"1.2.840.10008.1.2.1.99"
    rest = head[at + len(syntax) + len(syntax) % 2 :]
    end = rest.index(b"\x08\x00\x16\x00")
    size = int.from_bytes(head[140:144], "little") + length - len(syntax) - len(syntax) % 2
    meta = meta[:140] + size.to_bytes(4, "little") + meta[144:]
    path = tmp_path / "bomb.dcm"
    path.write_bytes(meta + rest[:end] + bomb)
    tracemalloc.start()
    try:
        with pytest.raises(
            ImageError, match=r"\(0002,0010\) TransferSyntaxUID must not be deflated"
        ):
            DicomFile.read(path, pixels=not header_only)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_run_lengths_do_not_expand_without_end():
    # 2 bytes give 128: all in all a thousand times what the frame holds.
    header = np.zeros(16, "<u4")
    header[:2] = 1, 64
    data = header.tobytes() + b"\x81\x07" * 20_000
    tracemalloc.start()
    try:
        shown = read_image(compressed([data], GREY, syntax=RLELossless))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert (shown == 7).all()


def test_many_frames_are_decoded_one_at_a_time():
    frames = np.zeros((400, 50, 60), np.uint8)
    data = dicom(frames, NumberOfFrames=400)
    file = DicomFile.read(data)
    tracemalloc.start()
    try:
        for number in range(1, 401):
            assert file.frame(number).shape == (50, 60, 3)
        assert tracemalloc.get_traced_memory()[1] < 200_000  # all of them would be 3,600,000
    finally:
        tracemalloc.stop()


def test_without_pydicom_the_install_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"pip install 'breastus\[dicom\]'"):
        read_image(dicom(GREY))


def broken_files() -> dict[str, bytes]:
    """Every file of this module, and one with each of its parts broken in turn."""
    files = {name: data for name, (data, _) in WRONG.items()}
    whole = dicom(COLOR, SequenceOfUltrasoundRegions=[region(1, 1, 8, 8)])
    files["whole"] = whole
    # Values where others belong, and lengths that draw in the neighbours.
    for keyword in ("Modality", "PhotometricInterpretation", "BurnedInAnnotation"):
        files[f"marker in {keyword}"] = dicom(GREY, **{keyword: MARKER})
    for keyword, value in (
        ("NumberOfFrames", 10**7),
        ("WindowCenter", 10**7),
        ("RescaleSlope", 10**7),
        ("PixelSpacing", [10**7, 1]),
    ):
        data = dicom(GREY, **{keyword: value, "Rows": 10})
        assert data.count(b"10000000") == 1
        files[f"marker in {keyword}"] = data.replace(b"10000000", MARKER.encode())
    start = whole.index(b"\x08\x00\x16\x00")
    for at in range(start, len(whole) - 600, 3):
        files[f"length at {at}"] = whole[:at] + b"\xff\x7f" + whole[at + 2 :]
        files[f"cut at {at}"] = whole[:at]
    return files


def test_damaged_files_reveal_nobody(tmp_path, capfd, caplog):
    """Neither by message, cause, representation, warning, log nor output."""
    messages, behind = [], []
    path = tmp_path / "scan.dcm"
    root = logging.getLogger()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        root.addHandler(logging.StreamHandler())  # as TensorFlow's logging does
        try:
            for data in broken_files().values():
                path.write_bytes(data)
                for read in (ImageFile.read, DicomFile.read, _header):
                    try:
                        messages.append(repr(read(path)))
                    except ImageError as error:
                        behind += [error.__cause__, error.__context__]
                        messages += [str(error), repr(error), *traceback.format_exception(error)]
        finally:
            root.handlers.pop()
    messages += [str(entry.message) for entry in warned]
    messages += [record.getMessage() for record in caplog.records]
    messages += list(capfd.readouterr())
    everything = "\n".join(messages)
    assert len(messages) > 1000
    assert set(behind) == {None}
    assert MARKER not in everything
    assert "19010203" not in everything


def test_messages_of_libraries_are_not_passed_on():
    value, problem = attempt(lambda: int(MARKER))
    assert (value, problem) == (None, "is damaged: ValueError")


def _header(path):
    return DicomFile.read(path, pixels=False)
