"""NIfTI series: axial slices from any grid, sequences by name or by choice, damaged files refused."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from lgg.errors import LggError, SeriesError, SliceError
from lgg.io import read_series
from lgg.types import FLAIR, POST, PRE
from tests.reading_files import memory_below, mutate, noise
from tests.series_files import DIRECTIONS, affine, archive, blob, nifti, rotated

SHAPE = (40, 48, 33)
SPACING = np.array([1.0, 1.25, 3.0])
#: A place to the patient's left, in front, and high up, in RAS millimetres, and the volume's first corner.
CENTRE, CORNER = np.array([-14.0, 18.0, 30.0]), np.array([-20.0, -30.0, -40.0])
RAS = affine(np.eye(3), SPACING, CORNER)


def along(directions):
    """Shape, affine and voxels of one patient's blob in an array whose axes run in these directions."""
    sides = np.abs(directions.T) @ (40, 48, 36)  # voxels along the patient's x, y and z
    spacing = np.abs(directions.T) @ SPACING
    shape = tuple(int(side) for side in sides)
    # A corner such that all arrays cover the same box of the patient.
    origin = CORNER + np.where(directions.sum(1) < 0, (np.array((40, 48, 36)) - 1) * SPACING, 0)
    matrix = affine(directions, spacing, origin)
    return shape, matrix, blob(shape, matrix, CENTRE, 9)


@pytest.mark.parametrize("directions", DIRECTIONS, ids=range(48))
def test_the_patients_left_front_is_up_right_in_the_upper_slices_and_goes_back(directions):
    _, matrix, voxels = along(directions)
    series = read_series([nifti(voxels.astype("uint8") * 200 + noise(*voxels.shape) // 10, matrix)])
    assert series.pixels.shape == (36, 48, 40, 3)
    outlined = series.pixels[..., FLAIR] > 100
    slices, rows, columns = np.argwhere(outlined).mean(0)
    assert (series.slice_distance, *series.spacing) == pytest.approx((3.0, 1.25, 1.0))
    # 70 mm of 105 up; 11 mm of 58.75 from the front; 6 mm of 39 from the left, which is on the right.
    assert (slices, rows, columns) == pytest.approx((70 / 3, 10.75 / 1.25, 33), abs=0.5)
    np.testing.assert_array_equal(series.to_source(outlined), voxels)


@pytest.mark.parametrize(("kind", "packed"), [(nib.Nifti1Image, True), (nib.Nifti2Image, False)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", ">i2"])
def test_values_are_the_files_and_a_fourth_axis_of_one_is_dropped(dtype, kind, packed):
    voxels = noise(*SHAPE).astype(dtype)
    series = read_series([nifti(voxels[..., None], RAS, kind=kind, packed=packed)])
    np.testing.assert_array_equal(series.to_source(series.pixels[..., FLAIR]), voxels)


def test_scaled_values_are_what_nibabel_gives():
    image = nib.Nifti1Image(noise(*SHAPE, dtype="int16"), RAS)
    image.header.set_slope_inter(0.5, -3)
    data = image.to_bytes()
    series = read_series([data])
    expected = nib.Nifti1Image.from_bytes(data).get_fdata()
    np.testing.assert_allclose(series.to_source(series.pixels[..., FLAIR]), expected, rtol=1e-6)


@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (1, 2), (0, 0)], ids=str)
def test_the_place_is_taken_as_nibabel_takes_it(codes):
    data = nifti(noise(*SHAPE), affine(rotated(10, 0), SPACING, CORNER), codes=codes, packed=False)
    series = read_series([data])
    np.testing.assert_allclose(series.grid.affine, nib.Nifti1Image.from_bytes(data).affine, atol=1e-6)
    assert any("does not say how it lies" in note for note in series.notes) == (codes == (0, 0))


def test_one_volume_is_flair():
    series = read_series([nifti(noise(*SHAPE), RAS)], ["whatever.nii.gz"])
    assert series.flair_only
    assert b"Doe" not in series.nifti.binaryblock  # a free text in the file
    assert series.source == "whatever.nii.gz"
    assert series.names[0] == "whatever.nii, slice 1"


NAMES = {PRE: "pat_t1.nii", FLAIR: "pat_flair.nii", POST: "pat_t1ce.nii"}
VOLUMES = {channel: noise(*SHAPE, seed=channel) for channel in NAMES}
THREE = {name: nifti(VOLUMES[channel], RAS, packed=False) for channel, name in NAMES.items()}


def test_three_volumes_in_an_archive_are_known_by_their_names():
    series = read_series([archive({f"pat/{name}": gzip.compress(data) for name, data in THREE.items()})])
    assert not series.flair_only
    assert series.chosen == NAMES
    for channel, voxels in VOLUMES.items():
        np.testing.assert_array_equal(series.to_source(series.pixels[..., channel]), voxels)


#: A FLAIR with a head in it, on `RAS`, and places to move a T1 of the same patient to.
HEAD = blob(SHAPE, RAS, CORNER + np.multiply(SHAPE, SPACING) / 2, 18)
FLAIR_FILE = nifti(HEAD.astype("int16") * 900 + noise(*SHAPE) % 50, RAS)


def t1(shape=SHAPE, matrix=RAS, **options):
    """A T1 in which brightness rises by 2 for each mm upwards."""
    heights = (np.indices(shape).T @ matrix[2, :3] + matrix[2, 3]).T
    return nifti((200 + 2 * heights).astype("float32"), matrix, **options)


def with_t1(other, **options):
    return read_series([FLAIR_FILE, other], [NAMES[FLAIR], NAMES[POST]], **options)


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((40, 48, 40), RAS),
        (SHAPE, affine(np.eye(3), SPACING, CORNER + 2)),
        ((80, 60, 40), affine(rotated(12, 0), (0.8, 1.5, 3.5), np.add(CORNER, (-10, -14, -15)))),
    ],
    ids=["more slices", "shifted", "tilted"],
)
def test_a_t1_on_a_grid_of_its_own_is_brought_onto_the_flairs(shape, matrix):
    series = with_t1(t1(shape, matrix))
    expected = with_t1(t1())
    inside = series.grid.to_axial(HEAD)
    np.testing.assert_allclose(series.pixels[inside, POST], expected.pixels[inside, POST], atol=0.1)
    np.testing.assert_array_equal(series.pixels[..., FLAIR], expected.pixels[..., FLAIR])
    np.testing.assert_array_equal(series.grid.affine, expected.grid.affine)
    assert expected.notes == ()
    (note,) = series.notes
    assert "post-contrast T1" in note
    assert "resampled" in note
    assert [row.sequence for row in series.found] == ["FLAIR", "post-contrast T1"]
    assert "resampled" in series.found[1].done


def test_flair_stands_in_at_the_t1s_brightness_where_the_t1_does_not_reach():
    series = with_t1(t1((40, 48, 20)))
    assert "FLAIR stands in" in series.notes[0]
    covered = series.grid.to_axial(HEAD)[:20]
    flair, other = series.pixels[..., FLAIR], series.pixels[..., POST]
    scale = other[:20][covered].std() / flair[:20][covered].std()
    shifted = (flair - flair[:20][covered].mean()) * scale + other[:20][covered].mean()
    np.testing.assert_allclose(other[20:], shifted[20:], rtol=1e-3, atol=0.1)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (t1((40, 48, 15)), r"post-contrast T1 covers \d+% of the head.*FLAIR alone"),
        (t1(matrix=affine(np.eye(3), SPACING, CORNER + 300)), "covers 0% of the head.*same examination"),
        (t1((40, 48, 34), codes=(0, 0)), "not say how it lies.*FLAIR alone"),
    ],
    ids=["too little", "elsewhere", "no place"],
)
def test_a_t1_that_does_not_fit_the_flair_is_refused(other, message):
    with pytest.raises(SeriesError, match=message):
        with_t1(other)


def test_a_code_that_means_nothing_is_none():
    data = bytearray(nifti(noise(*SHAPE), RAS, packed=False))
    struct.pack_into("<h", data, 254, 999)  # sform_code
    series = read_series([bytes(data)])
    assert (series.nifti["sform_code"], series.nifti["qform_code"]) == (0, 1)


def test_extensions_are_never_parsed():
    image = nib.Nifti1Image(noise(*SHAPE), RAS)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(2, b"Doe^Jane is no DICOM"))
    data = image.to_bytes()
    series = read_series([data])
    np.testing.assert_array_equal(series.to_source(series.pixels[..., FLAIR]), image.get_fdata())


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (noise(40, 48, 33, 2), "40 × 48 × 33 × 2, and one volume of three axes"),
        (noise(40, 48), "40 × 48, and one volume"),
        (np.zeros((40, 48, 33), "complex64"), "no plain numbers"),
        (np.zeros((40, 48, 33), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "no plain numbers"),
        (np.zeros((40, 48, 33), "uint8"), "nothing to see"),
        (np.full((40, 48, 33), np.nan, "float32"), "NaN"),
        (noise(31, 48, 33), "at least 32 a side"),
    ],
)
def test_what_is_no_grey_volume_is_refused(voxels, message):
    with pytest.raises(SliceError, match=message):
        read_series([nifti(voxels, RAS)])


def test_a_declared_size_is_refused_before_memory_is_reserved():
    data = bytearray(nifti(noise(*SHAPE), RAS, packed=False))
    struct.pack_into("<8h", data, 40, 3, 4000, 4000, 500, 1, 1, 1, 1)
    with memory_below(2**21), pytest.raises(SeriesError, match="500 slices of 4000 × 4000 pixels"):
        read_series([bytes(data)])


def test_a_file_cut_short_is_refused_by_name():
    for size in (100, 347, 400, 60_000):
        with pytest.raises(SliceError, match=r"^brain\.nii: "):
            read_series([nifti(noise(*SHAPE), RAS, packed=False)[:size]], ["brain.nii"])


def test_damaged_files_are_refused_or_read_in_silence(capfd):
    random, data = np.random.default_rng(0), nifti(noise(*SHAPE), RAS, packed=False)
    read = 0
    for _ in range(100):
        try:
            read += len(read_series([mutate(data, random)])) > 0
        except LggError:
            continue
    assert 0 < read < 100
    assert capfd.readouterr() == ("", "")
