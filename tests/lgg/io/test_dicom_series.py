"""DICOM series: sorted by place, sequences by description or by choice, gaps noticed, no patient shown."""

import struct
import warnings
from contextlib import suppress

import numpy as np
import pytest

from lgg.errors import SeriesError, SliceError
from lgg.io import AmbiguousSeriesError, read_series
from lgg.types import FLAIR, POST, PRE
from tests.dicom_files import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    PATIENT,
    RLE,
    SERIES,
    dicom,
    enhanced,
    functional_groups,
    scan,
)
from tests.reading_files import memory_below, noise
from tests.series_files import AXIAL, PLANES, archive, blob, dicom_stack

SHAPE = (34, 50, 41)


def volume(seed=0):
    return noise(*SHAPE, dtype="uint16", seed=seed) & 0xFFF


def shuffled(files, seed=0):
    return [files[index] for index in np.random.default_rng(seed).permutation(len(files))]


@pytest.mark.parametrize("plane", PLANES.values(), ids=PLANES)
def test_the_patients_left_front_is_up_right_in_the_upper_slices_and_goes_back(plane):
    _, matrix = dicom_stack(volume()[:1], *plane, step=2.0)
    middle = (matrix @ (*np.divide(np.subtract(SHAPE, 1), 2), 1))[:3]
    voxels = blob(SHAPE, matrix, np.add(middle, (-4, 5, 8)), 5)  # RAS: left, front, up
    files, _ = dicom_stack(voxels.astype("uint16") * 1000, *plane, step=2.0)
    series = read_series(shuffled(files))
    outlined = series.pixels[..., FLAIR] > 500
    slices, rows, columns = np.argwhere(outlined).mean(0) - np.divide(outlined.shape, 2)
    assert slices > 0
    assert rows < 0
    assert columns > 0
    np.testing.assert_allclose(series.grid.affine, matrix, atol=1e-4)
    np.testing.assert_array_equal(series.to_source(outlined), voxels)
    assert [header.instance for header in series.dicom] == [f"{SERIES}.{1000 - n}" for n in range(34)]


@pytest.mark.parametrize(("step", "direction"), [(5.0, 1), (-5.0, -1)], ids=["up", "down"])
def test_places_tell_order_and_distances_not_names_or_numbers(step, direction):
    files, _ = dicom_stack(volume(), *AXIAL, step=step, SliceThickness="4")
    names = [f"{name:03}.dcm" for name in np.random.default_rng(1).permutation(len(files))]
    series = read_series(files, names)
    np.testing.assert_array_equal(series.pixels[..., FLAIR], volume()[::direction])
    assert series.names == tuple(names[::direction])
    assert (series.spacing, series.slice_distance) == (pytest.approx((0.75, 0.5)), pytest.approx(5.0))
    assert series.flair_only
    assert series.notes == ()


def test_without_pixel_spacing_no_distance_is_told():
    series = read_series([dicom(scan(50, 41), number=n, PixelSpacing=None) for n in range(4)])
    assert series.spacing is None
    assert series.slice_distance is None


def test_an_archive_of_a_disc_is_read():
    files, _ = dicom_stack(volume(), *AXIAL)
    report = dicom(scan(), data=b"")
    disc = {f"DICOM/IM{number}": data for number, data in enumerate(files)}
    series = read_series([archive(disc | {"DICOMDIR": report, "VIEWER.EXE": b"MZ"})], ["disc.zip"])
    np.testing.assert_array_equal(series.pixels[..., FLAIR], volume())
    assert series.notes == (
        "Files in the archive that are no images were left out: 1.",
        "DICOM files without a picture were left out: 1.",
    )


DESCRIPTIONS = {PRE: "Ax T1 pre", FLAIR: "Ax T2 FLAIR", POST: "Ax T1 +C"}


def study(descriptions=DESCRIPTIONS, **changes):
    files = []
    for channel, description in descriptions.items():
        options = {"series": f"1.2.3.{channel}", "description": description, "SeriesNumber": channel + 1}
        files += dicom_stack(volume(channel), *AXIAL, **(options | changes.get(f"only_{channel}", {})))[0]
    return files


def test_sequences_are_known_by_their_descriptions():
    series = read_series(shuffled(study()))
    for channel in range(3):
        np.testing.assert_array_equal(series.pixels[..., channel], volume(channel))
    assert series.chosen == {channel: f"1.2.3.{channel}" for channel in range(3)}
    assert not series.flair_only


def test_descriptions_that_tell_nothing_ask_for_a_choice():
    with pytest.raises(AmbiguousSeriesError, match="Say which is pre-contrast T1") as caught:
        read_series(study(dict.fromkeys(DESCRIPTIONS, "axial")))
    labels = [candidate.label for candidate in caught.value.candidates]
    assert labels == [f"axial (series {number}, 34 slices)" for number in (1, 2, 3)]


def test_a_choice_goes_before_the_descriptions():
    choice = {"1.2.3.0": "flair", "1.2.3.1": "post"}
    series = read_series(study(), assignment=choice)
    np.testing.assert_array_equal(series.pixels[..., FLAIR], volume(0))
    np.testing.assert_array_equal(series.pixels[..., PRE], volume(0))
    np.testing.assert_array_equal(series.pixels[..., POST], volume(1))
    assert series.notes == ("Further series were left out: 1.",)
    assert PATIENT in study()[0].decode("latin-1")
    assert PATIENT.split("^")[0] not in repr(series)
    assert "1970" not in repr(series.dicom)  # the patient's and the study's date


def test_a_t1_on_a_grid_of_its_own_is_brought_onto_the_flairs():
    # The same planes, twice as near to each other: every second one is the FLAIR's.
    dense = np.repeat(volume(POST), 2, axis=0)
    apart = dicom_stack(dense, *AXIAL, step=2.5, series="1.2.9", description="Ax T1 +C", SeriesNumber=9)[0]
    series = read_series([*study({FLAIR: "Ax T2 FLAIR"}), *apart])
    expected = (dense[0:-1:2].astype(float) + dense[1::2]) / 2
    # A slice of 5 mm spans 1.25 mm to both sides of its middle, where two voxels meet.
    np.testing.assert_allclose(series.pixels[1:, ..., POST], (expected[1:] * 3 + expected[:-1]) / 4, atol=1)
    assert len(series.notes) == 1
    assert "resampled" in series.notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"FrameOfReferenceUID": "1.2.3.4.5", "step": 6.0}, "no common frame of reference.*FLAIR alone"),
        ({"PixelSpacing": None, "step": 6.0}, "spacings are missing"),
    ],
    ids=["frame", "spacing"],
)
def test_a_t1_that_does_not_fit_the_flair_is_refused(change, message):
    with pytest.raises(SeriesError, match=message):
        read_series(study(only_2=change))


def test_a_t1_without_some_of_its_slices_is_not_resampled():
    files = study()
    with pytest.raises(SeriesError, match="slices are"):
        read_series(files[:72] + files[82:])


def test_lone_slices_need_no_place_but_are_not_one_grid_without():
    lone = [
        dicom(scan(), series=f"1.2.{number}", description=name, ImagePositionPatient=None)
        for number, name in enumerate(DESCRIPTIONS.values())
    ]
    np.testing.assert_array_equal(read_series(lone[:1]).pixels[0, ..., FLAIR], scan())
    with pytest.raises(SeriesError, match="does not lie on the grid"):
        read_series(lone)


FILES = dicom_stack(volume(), *AXIAL)[0]
MOVED = dicom_stack(volume(), *AXIAL, origin=(-100.0, -120.0, 31.0))[0]
TWO_PERCENT = dicom_stack(volume(), *AXIAL, origin=(-100.0, -120.0, 30.1))[0]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (FILES[:10] + FILES[12:], ["2 slices", "missing", "5.00 mm", "15.00 mm"]),
        (FILES[:10] + MOVED[10:], ["not evenly spaced", "5.00 to 6.00 mm"]),
        (dicom_stack(volume(), *AXIAL, Modality="CT")[0], ["CT, not MR"]),
        (FILES[:10] + TWO_PERCENT[10:], []),
    ],
    ids=["gap", "uneven", "CT", "uneven by 2 %"],
)
def test_what_is_odd_about_a_stack_is_told_and_it_is_read(files, words):
    series = read_series(files)
    np.testing.assert_array_equal(series.pixels[:10, ..., FLAIR], volume()[:10])
    assert len(series.notes) == bool(words)
    assert all(word in series.notes[0] for word in words)


NO_PLACE = [[dicom(scan(), number=n, **{tag: None}) for n in range(3)]
            for tag in ("ImagePositionPatient", "ImageOrientationPatient")]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([*FILES[:3], FILES[2]], r"2\.dcm and 3\.dcm lie in the same place"),
        (FILES[:3] + dicom_stack(volume()[:1], *PLANES["coronal"])[0], r"3\.dcm and 0\.dcm are not parallel"),
        (
            FILES[:2] + dicom_stack(volume()[:2, :40], *AXIAL, step=50.0)[0][1:],
            r"2\.dcm is 41 × 40 pixels, 0",
        ),
        (FILES[:2] + dicom_stack(volume()[:3], *AXIAL, spacing=(1, 1))[0][2:], "differ in pixel spacing"),
        (NO_PLACE[0], r"does not say where in the patient.*numbered TIFF"),
        (NO_PLACE[1], r"does not say where in the patient.*numbered TIFF"),
        ([FILES[0], FILES[1][:-50], FILES[2]], r"^1\.dcm: the file is cut short"),
    ],
    ids=["one place", "planes", "sizes", "spacings", "no position", "no directions", "damaged"],
)
def test_what_is_no_stack_is_refused_by_name(files, message):
    with pytest.raises(SliceError, match=message):
        read_series(files, [f"{number}.dcm" for number in range(len(files))])


class TestEnhanced:
    """All frames of a series in one file."""

    @pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE, JPEG + "70", JPEG + "80"])
    def test_every_frame_is_a_slice_at_its_place(self, syntax):
        series = read_series([enhanced(volume(), syntax, step=-5.0)], ["scan.dcm"])
        np.testing.assert_array_equal(series.pixels[..., FLAIR], volume()[::-1])
        assert (series.spacing, series.slice_distance) == ((0.75, 0.5), 5.0)
        assert series.names[2].startswith("scan.dcm, frame ")

    def test_frames_have_their_own_scale(self):
        scale = [{"RescaleSlope": 2 + number, "RescaleIntercept": -1} for number in range(34)]
        places = [{"ImagePositionPatient": [0, 0, number]} for number in range(34)]
        frames = [
            {"PixelValueTransformationSequence": one, "PlanePositionSequence": place}
            for one, place in zip(scale, places, strict=True)
        ]
        series = read_series([enhanced(volume(), frames=frames)])
        expected = volume() * np.arange(2, 36)[:, None, None] - 1
        np.testing.assert_array_equal(series.pixels[..., FLAIR], expected)

    @pytest.mark.parametrize("told", ["contrast", "times"])
    def test_sequences_are_known_by_how_they_were_taken(self, told):
        kinds = {
            FLAIR: ("FLUID_ATTENUATED", 120.0, 9000, 2500.0),
            PRE: ("T1", 10.0, 550, None),
            POST: ("T1", 10.0, 550, None),
        }
        files = []
        for channel, (contrast, echo, repetition, inversion) in kinds.items():
            fields = {"EchoPulseSequence": "SPIN", "description": "axial", "series": f"1.2.{channel}"}
            groups = {
                "MREchoSequence": {"EffectiveEchoTime": echo},
                "MRTimingAndRelatedParametersSequence": {"RepetitionTime": repetition},
                "MRModifierSequence": {"InversionRecovery": "YES", "InversionTimes": [inversion]},
            }
            if inversion is None:
                del groups["MRModifierSequence"]
            if channel == POST:
                fields["ContrastBolusAgentSequence"] = [functional_groups({})]
            if told == "contrast":
                fields["AcquisitionContrast"], groups = contrast, {}
            files.append(enhanced(volume(channel), shared=groups, **fields))
        series = read_series(files)
        for channel in range(3):
            np.testing.assert_array_equal(series.pixels[..., channel], volume(channel))

    def test_classic_and_enhanced_series_go_together(self):
        files = study({FLAIR: "Ax T2 FLAIR", PRE: "T1 pre"})
        series = read_series([*files, enhanced(volume(2), series="1.2.9", description="T1 +C", step=4.0)])
        assert [row.sequence for row in series.found] == ["FLAIR", "pre-contrast T1", "post-contrast T1"]
        assert "resampled" in series.found[2].done

    def test_a_film_among_the_series_is_left_out(self):
        film = dicom(scan(), NumberOfFrames=9, series="1.2.9", description="cine")
        assert "left out: 1" in read_series([*study(), film]).notes[0]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (enhanced(volume(), frames=[{}] * 34), "does not say where"),
            (enhanced(volume(), NumberOfFrames=33), "cut short"),
            (enhanced(volume())[:-100], "cut short"),
            (enhanced(volume(), step=0.0), "same place"),
            (dicom(scan(), NumberOfFrames=9), "several frames.*NIfTI"),
        ],
        ids=["no places", "frames", "damaged", "points in time", "no groups"],
    )
    def test_what_is_no_stack_is_refused(self, data, message):
        with pytest.raises(SliceError, match=message):
            read_series([data])

    @pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
    def test_damaged_groups_are_read_or_refused(self, syntax):
        random, data = np.random.default_rng(0), enhanced(volume()[:3], syntax)
        header = data.index(b"\xe0\x7f\x10\0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(60):
                damaged = bytearray(data)
                for at in random.integers(200, header, 3):
                    damaged[at] = random.integers(256)
                with suppress(SliceError):
                    assert np.isfinite(read_series([bytes(damaged)]).pixels).all()

    def test_a_header_of_empty_items_costs_little(self):
        data = enhanced(volume()[:1])
        tag = struct.pack("<HH2sH", 0x5200, 0x9230, b"SQ", 0)
        at = data.index(tag)
        items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 2**18
        forged = (
            data[:at] + tag + struct.pack("<L", len(items)) + items + data[data.index(b"\xe0\x7f\x10\0") :]
        )
        with memory_below(2**25), pytest.raises(SliceError):
            read_series([forged])
