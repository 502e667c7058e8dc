"""Reading DICOM: every packing gives the scanner's own values, and no patient is ever shown."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom.encaps import encapsulate

from lgg.errors import SliceError
from lgg.io import read_series, read_slice
from lgg.io.dicom import decode_dicom
from lgg.io.dicom_header import MAX_HEADER
from lgg.io.limits import MAX_SIDE
from tests.dicom_files import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, JPEG, PATIENT, RLE, dicom, scan
from tests.reading_files import memory_below, mutate, noise, pillow, read_or_refuse

LOSSLESS = {
    "implicit": IMPLICIT,
    "explicit": EXPLICIT,
    "big endian": BIG_ENDIAN,
    "RLE": RLE,
    "JPEG lossless": JPEG + "70",
    "JPEG-LS": JPEG + "80",
    "JPEG 2000": JPEG + "90",
}


def flair(data):
    return read_slice(data).pixels[..., 1]


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_packings_keep_every_value_and_sign(syntax):
    for pixels in (scan(), scan(33, 47)):
        np.testing.assert_array_equal(flair(dicom(pixels, syntax)), pixels)
    pixels = (scan() - 2048.0).astype("int16")
    data = dicom(pixels, syntax, PixelRepresentation=1, BitsStored=16, HighBit=15)
    np.testing.assert_array_equal(flair(data), pixels)


def test_a_jpeg_is_read_as_closely_as_it_was_written():
    ramp = np.add.outer(np.arange(48), np.arange(40)).astype("uint8") * 2
    data = dicom(ramp, JPEG + "50", BitsAllocated=8, BitsStored=8, HighBit=7)
    np.testing.assert_allclose(flair(data), ramp, atol=4)
    assert decode_dicom(data).lossy


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, JPEG + "70", JPEG + "80"])
def test_eight_bits_are_read(syntax):
    pixels = noise(48, 40)
    data = dicom(pixels, syntax, BitsAllocated=8, BitsStored=8, HighBit=7)
    np.testing.assert_array_equal(flair(data), pixels)


@pytest.mark.parametrize("name", ["MR_small", "CT_small", "MR_small_bigendian", "MR_small_RLE", "693_J2KI"])
def test_files_of_other_writers_give_what_pydicom_gives(name):
    path = Path(pydicom.data.__file__).parent / "test_files" / f"{name}.dcm"
    expected = pydicom.dcmread(path)
    values = expected.pixel_array * float(expected.get("RescaleSlope", 1))
    series = read_series([path])
    shown = values + float(expected.get("RescaleIntercept", 0))
    np.testing.assert_array_equal(series.grid.to_source(series.pixels)[0, ..., 1], shown)
    if "ImagePositionPatient" in expected:
        place = series.grid.affine[:3, 3] * (-1, -1, 1)
        np.testing.assert_allclose(place, np.array(expected.ImagePositionPatient, float), atol=1e-3)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"II*\0" + dicom(scan())[4:], scan()),
        (dicom(scan(), RescaleSlope="0.5", RescaleIntercept="-100"), scan() * 0.5 - 100),
        (dicom(scan(), WindowCenter="40", WindowWidth="80"), scan()),
        (dicom(scan(), PhotometricInterpretation="MONOCHROME1"), 4095.0 - scan()),
        (dicom(scan() | np.uint16(0xF000)), scan()),
    ],
    ids=[
        "TIFF before the mark",
        "slope and intercept",
        "no window",
        "MONOCHROME1 inverted",
        "bits above cut",
    ],
)
def test_values_are_the_scanners(data, expected):
    np.testing.assert_array_equal(flair(data), expected)


def test_a_slice_is_flair_only_and_has_the_stated_spacing():
    slice_ = read_slice(dicom(scan()), "scan.dcm")
    assert (slice_.flair_only, slice_.spacing, slice_.source) == (True, (0.75, 0.5), "scan.dcm")


@pytest.mark.parametrize(
    "changes",
    [{"PixelSpacing": None}, {"PixelSpacing": None, "ImagerPixelSpacing": [0.3, 0.3]}]
    + [{"PixelSpacing": spacing} for spacing in ([0, 0], [-1, -1], [500, 500])],
    ids=str,
)
def test_a_spacing_that_is_missing_or_cannot_be_is_none(changes):
    assert read_slice(dicom(scan(), **changes)).spacing is None


def test_reading_warns_of_nothing(capfd):
    data = dicom(scan()).replace(b"19700101", PATIENT.encode())  # dates that are none, which pydicom quotes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_slice(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dicom(scan(), NumberOfFrames=20), "several frames.*classic"),
        (dicom(scan(), PhotometricInterpretation="RGB", SamplesPerPixel=3), "colour picture.*grey"),
        (dicom(scan(), PhotometricInterpretation="PALETTE COLOR"), "colour picture"),
        (dicom(scan(), Rows=None, PhotometricInterpretation=None), "not state Rows, Photometric.*Export"),
        (dicom(scan(), BitsAllocated=None, data=bytes(3840)), "not state BitsAllocated.*Export"),
        (dicom(scan(), data=b""), "no picture.*Give the MR images"),
        (dicom(scan(), BitsAllocated=1, BitsStored=1, HighBit=0), "1 of 1 bits.*16 bits"),
        (dicom(scan(), BitsStored=17), "17 of 16 bits"),
        (dicom(scan(), DEFLATED), "deflated.*uncompressed"),
        (dicom(scan(), JPEG + "100", data=encapsulate([b"mpeg" * 20])), "compression is not read"),
        (dicom(scan(), data=bytes(100)), "cut short"),
        (dicom(scan(), Rows=64), "cut short"),
        (dicom(scan(16, 16)), "at least 32 a side"),
        (dicom(scan(), Rows=MAX_SIDE + 1), f"at most {MAX_SIDE} a side"),
        # Streams that are not what the header says.
        (dicom(noise(48, 40), JPEG + "50", data=encapsulate([pillow(noise(48, 40, 3), "JPEG")])), "colour"),
        *((dicom(scan(64, 64), JPEG + c, Rows=48, Columns=40), "cut short") for c in ("70", "80", "90")),
        (dicom(scan() * 0), "same value"),
        (bytes(128) + b"DICM", "no picture"),
        (bytes(128) + b"DICM" + bytes(500), "no picture"),
    ],
)
def test_what_is_no_grey_slice_is_refused_with_what_to_do(data, message):
    with pytest.raises(SliceError, match=rf"scan\.dcm: .*{message}"):
        read_slice(data, "scan.dcm")


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_a_file_cut_anywhere_is_refused(syntax):
    data = dicom(scan(), syntax)
    for cut in range(0, len(data) - 16, 97):
        with pytest.raises(SliceError):
            read_slice(data[:cut])


def test_runs_that_unpack_to_more_than_the_picture_are_refused():
    bomb = struct.pack("<16I", 2, 64, 2**16, *[0] * 13) + b"\x81\x07" * 2**16
    with memory_below(2**22), pytest.raises(SliceError):
        read_slice(dicom(scan(), RLE, data=encapsulate([bomb])))


def test_a_long_header_is_refused():
    data = dicom(scan(), PatientComments="x" * 1000, TextValue="x" * MAX_HEADER)
    with pytest.raises(SliceError, match="over 1 MiB"):
        read_slice(data)


def test_a_header_of_empty_items_costs_little():
    items = struct.pack("<HHLHHL", 0xFFFE, 0xE000, 0xFFFFFFFF, 0xFFFE, 0xE00D, 0) * 2**13
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + items
    data = dicom(scan())
    first = data.index(struct.pack("<HH2s", 0x0008, 0x0016, b"UI"))
    with memory_below(2**25), pytest.raises(SliceError):
        read_slice(data[:first] + sequence + data[first:])


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_mutated_files_are_read_or_refused(syntax):
    random, data = np.random.default_rng(0), dicom(scan(), syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            read_or_refuse(mutate(data, random))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_a_field_of_the_patient_in_the_place_of_the_character_set_is_not_logged(syntax, caplog, capfd):
    data = dicom(scan(), syntax, SpecificCharacterSet=None)
    order = ">" if syntax == BIG_ENDIAN else "<"
    # A damaged tag: the date of the study (1970) where the character set stands.
    date, character_set = (struct.pack(order + "HH", 0x0008, element) for element in (0x0020, 0x0005))
    damaged = data.replace(date, character_set, 1)
    assert damaged != data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(flair(damaged), scan())
    assert "1970" not in caplog.text + "".join(map(str, caught)) + "".join(capfd.readouterr())
