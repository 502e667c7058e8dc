"""Studies on the disk: folders of files, recognised and brought onto the FLAIR's grid."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import lgg
from lgg import read_study
from lgg.errors import SeriesError, SliceError
from lgg.io import AmbiguousSeriesError, study
from lgg.io.study import recognise
from lgg.types import FLAIR, POST, PRE, SEQUENCES
from tests.dicom_files import PATIENT, dicom, scan
from tests.reading_files import tiff
from tests.series_files import AXIAL, PLANES, affine, archive, dicom_stack, nifti, rotated, write

EXAMPLE = Path(lgg.__file__).parent / "examples" / "study"
SHAPE = (40, 36, 6)
PLACE = affine(np.eye(3), (1.0, 1.0, 5.0))
SAGITTAL, THIN = PLANES["sagittal"], {"step": 1.0, "count": 25}


def volume(seed):
    return np.random.default_rng(seed).integers(1, 1000, SHAPE, dtype=np.int16)


def volumes(*names):
    """A NIfTI file for each name, all different."""
    return {name: nifti(volume(seed), PLACE) for seed, name in enumerate(names)}


def check(series, channels):
    """Each channel shows the volume of its seed."""
    for channel, seed in channels.items():
        np.testing.assert_array_equal(series.pixels[..., channel], series.grid.to_axial(volume(seed)))


def planes(count=5, seed=0):
    return np.random.default_rng(seed).integers(0, 4000, (count, 48, 40), dtype=np.uint16)


#: How scanners take them; no description tells what they are.
TAKEN = {
    "FLAIR": dict(EchoTime=120, RepetitionTime=9000, InversionTime=2500, ScanningSequence=["SE", "IR"]),
    "T1": dict(EchoTime=10, RepetitionTime=550, ScanningSequence="SE"),
    "T1+C": dict(EchoTime=10, RepetitionTime=550, ScanningSequence="SE", ContrastBolusAgent="Gadovist"),
    "T2": dict(EchoTime=100, RepetitionTime=5000, InversionTime=0, ScanningSequence="SE"),
    "DWI": dict(EchoTime=80, RepetitionTime=6000, ScanningSequence="EP"),
    "ADC": dict(EchoTime=80, RepetitionTime=6000, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]),
    "localiser": dict(EchoTime=5, RepetitionTime=8, ScanningSequence="GR", description="Survey"),
}


def series(number, taken, *, count=5, plane=AXIAL, seed=None, **changes):
    """Name → file of one DICOM series, as lies in a folder of its own."""
    options = {"description": "axial", "SeriesNumber": number, "series": f"1.2.3.{number}", **TAKEN[taken]}
    pixels = planes(count, number if seed is None else seed)
    files, _ = dicom_stack(pixels, *plane, **{**options, **changes})
    return {f"{number}/{place}.dcm": data for place, data in enumerate(files)}


KINDS = ("localiser", "T2", "FLAIR", "DWI", "ADC", "T1", "T1+C")
EVERYTHING = {
    name: data for number, taken in enumerate(KINDS, 1) for name, data in series(number, taken).items()
}


def taken_for(found):
    return {row.number: row.sequence for row in found if row.sequence}


class TestVolumes:
    def test_a_folder_is_read(self, tmp_path):
        series = read_study(write(tmp_path, volumes("FLAIR.nii.gz", "T1.nii.gz")))
        check(series, {FLAIR: 0, PRE: 1, POST: 0})
        assert series.source == tmp_path.name

    @pytest.mark.parametrize(
        "names",
        [
            ("FLAIR.nii.gz", "T1.nii.gz", "T1-post.nii.gz", "T2.nii.gz", "mask.nii.gz"),
            [
                f"sub-post1/anat/sub-post1_{suffix}.nii.gz"
                for suffix in ("FLAIR", "T1w", "ce-gadolinium_T1w", "T2w", "label-lesion_dseg")
            ],
            ("B-1-t2f.nii.gz", "B-1-t1n.nii.gz", "B-1-t1c.nii.gz", "B-1-t2w.nii.gz", "B-1-seg.nii.gz"),
            ("B_1_flair.nii", "B_1_t1.nii", "B_1_t1ce.nii", "B_1_t2.nii", "flair_seg.nii"),
            ("4_Ax_FLAIR_2.nii", "5_AX_T1_SE_2.nii", "9_AX_T1_+C_2.nii", "dwi_ADC.nii", "FLAIR_mask.nii"),
        ],
        ids=["plain", "BIDS", "BraTS 2023", "BraTS 2020", "dcm2niix"],
    )
    def test_names_of_data_sets_are_known(self, names, tmp_path):
        files = {name: data if name.endswith("gz") else gzip.decompress(data) for name, data in
                 volumes(*names).items()}  # fmt: skip
        series = read_study(write(tmp_path, files))
        check(series, {FLAIR: 0, PRE: 1, POST: 2})
        assert sorted(row.sequence for row in series.found) == sorted(("", "", *SEQUENCES))

    def test_files_are_named_for_what_they_are(self, tmp_path):
        folder = write(tmp_path, volumes("a.nii.gz", "b.nii.gz", "c.nii.gz"))
        series = read_study(flair=folder / "b.nii.gz", post=folder / "a.nii.gz")
        check(series, {FLAIR: 1, POST: 0, PRE: 1})

    @pytest.mark.parametrize("name", ["T1.nii.gz", "T2.nii.gz", "mask.nii.gz"])
    def test_a_lone_file_is_flair_but_one_that_is_something_else_is_refused(self, name, tmp_path):
        assert read_study(write(tmp_path / "lone", volumes("scan.nii.gz")) / "scan.nii.gz").flair_only
        folder = write(tmp_path / "else", volumes(name))
        with pytest.raises(AmbiguousSeriesError, match="flair="):
            read_study(folder)
        assert read_study(folder, flair=1).flair_only

    def test_two_flairs_ask_with_numbers_for_a_choice(self, tmp_path):
        folder = write(tmp_path, volumes("run-1_FLAIR.nii.gz", "run-2_FLAIR.nii.gz"))
        with pytest.raises(AmbiguousSeriesError, match=r"(?s)flair=.*  1: run-1_FLAIR.*  2: run-2_FLAIR.*mm"):
            read_study(folder)
        for choice in (2, "2", folder / "run-2_FLAIR.nii.gz", "run-2_FLAIR.nii.gz"):
            check(read_study(folder, flair=choice), {FLAIR: 1})

    def test_files_of_one_name_are_told_apart_by_their_folders(self, tmp_path):
        check(read_study(write(tmp_path, volumes("FLAIR/image.nii.gz", "T1/image.nii.gz"))), {PRE: 1})

    def test_of_two_sets_of_volumes_one_is_named_by_its_flair(self, tmp_path):
        names = [f"{date}/{name}.nii.gz" for date in ("2019", "2021") for name in ("FLAIR", "T1")]
        folder = write(tmp_path, volumes(*names))
        with pytest.raises(AmbiguousSeriesError, match=r"(?s)2 examinations.*flair=.*FLAIR.nii in 2021"):
            read_study(folder)
        check(read_study(folder, flair="2021/FLAIR.nii.gz"), {FLAIR: 2, PRE: 3})

    def test_a_volume_that_is_no_image_does_no_harm(self, tmp_path):
        files = volumes("FLAIR.nii.gz", "T1.nii.gz")
        files["dwi.nii.gz"] = nifti(np.zeros((8, 8, 4, 30), np.int16), PLACE)
        files["T1_broken.nii.gz"] = files["T1.nii.gz"][:30]
        series = read_study(write(tmp_path, files))
        assert sorted(series.chosen) == [PRE, FLAIR]
        assert any("could not be read" in note for note in series.notes)


class TestDicom:
    def test_a_whole_examination_is_recognised_by_how_it_was_taken(self, tmp_path):
        series = read_study(write(tmp_path, EVERYTHING))
        for channel, number in ((FLAIR, 3), (PRE, 6), (POST, 7)):
            np.testing.assert_array_equal(series.pixels[..., channel], planes(seed=number))
        assert taken_for(series.found) == {3: "FLAIR", 6: "pre-contrast T1", 7: "post-contrast T1"}
        done = {row.number: row.done for row in series.found}
        assert "localiser" in done[1]
        assert "left out" in done[2]
        assert "map" in done[5]
        assert series.found[2].grid == "40 × 48 × 5, 0.5 × 0.8 × 5.0 mm"

    def test_what_is_recognised_is_told_without_reading_pixels(self, tmp_path):
        apart = series(8, "T1+C", step=2.5, count=9) | series(3, "FLAIR")
        damaged = {name: data[:-500] for name, data in apart.items()}
        found = recognise(write(tmp_path, damaged)).found
        assert taken_for(found) == {3: "FLAIR", 8: "post-contrast T1"}
        assert "resampled" in found[-1].done

    @pytest.mark.parametrize(
        ("files", "channel", "number"),
        [
            (EVERYTHING | series(8, "FLAIR", plane=SAGITTAL), FLAIR, 3),
            (EVERYTHING | series(9, "FLAIR", count=3), FLAIR, 3),
            (EVERYTHING | series(10, "FLAIR", ImageType=["DERIVED", "SECONDARY", "MPR"]), FLAIR, 3),
            (EVERYTHING | series(8, "T1", **THIN), PRE, 6),
            (series(3, "FLAIR") | series(8, "T1+C", **THIN) | series(9, "T1+C", step=6.0), POST, 9),
            # Stopped early, however well it would suit.
            (series(1, "FLAIR", count=2) | series(2, "FLAIR", plane=SAGITTAL, count=36), FLAIR, 2),
        ],
        ids=["axial", "complete", "scanned", "on the FLAIR's grid", "as thick", "not stopped early"],
    )
    def test_of_two_the_better_is_taken(self, files, channel, number, tmp_path):
        assert read_study(write(tmp_path, files)).chosen[channel] == f"1.2.3.{number}"

    def test_two_that_fit_equally_ask_with_numbers_for_a_choice(self, tmp_path):
        folder = write(tmp_path, EVERYTHING | series(8, "FLAIR"))
        with pytest.raises(AmbiguousSeriesError, match=r"(?s)flair=.*  3: axial.*  8: axial"):
            read_study(folder)
        for choice in (8, folder / "8", "8/1.dcm"):
            read = read_study(folder, flair=choice)
            assert (read.chosen[FLAIR], read.chosen[PRE]) == ("1.2.3.8", "1.2.3.6")
        seems = recognise(folder)
        rows = seems.found
        assert taken_for(rows) == {3: "FLAIR", 6: SEQUENCES[PRE], 7: SEQUENCES[POST], 8: "FLAIR"}
        assert "chosen" in rows[-1].done
        assert (seems.open_channels, dict(seems.chosen)) == ({FLAIR}, {PRE: "1.2.3.6", POST: "1.2.3.7"})

    def test_a_number_that_is_not_there_is_refused_with_those_that_are(self, tmp_path):
        with pytest.raises(SeriesError, match=r"no series 11.* 1, 2, 3, 4, 5, 6, 7"):
            read_study(write(tmp_path, EVERYTHING), flair=11)

    def test_of_two_examinations_in_a_folder_one_is_named_by_its_series(self, tmp_path):
        later = {"StudyInstanceUID": "1.2.3.4.5"}
        other = series(8, "FLAIR", **later) | series(9, "T1", **later)
        folder = write(tmp_path, EVERYTHING | other)
        listed = r"(?s)2 examinations.*Examination 1:.*  7: axial.*Examination 2:\n  8: axial"
        with pytest.raises(AmbiguousSeriesError, match=listed):
            read_study(folder)
        assert dict(recognise(folder).chosen) == {}
        first, second = (read_study(folder, flair=choice) for choice in (3, folder / "8"))
        assert dict(first.chosen) == {FLAIR: "1.2.3.3", PRE: "1.2.3.6", POST: "1.2.3.7"}
        assert dict(second.chosen) == {FLAIR: "1.2.3.8", PRE: "1.2.3.9"}
        with pytest.raises(SeriesError, match="another examination"):
            read_study(folder, flair=3, post=9)

    def test_copies_and_damaged_files_do_no_harm(self, tmp_path):
        copies = {f"copy/{name}": data for name, data in series(3, "FLAIR").items()}
        files = (
            EVERYTHING
            | copies
            | {"broken.dcm": EVERYTHING["2/1.dcm"][:300], "report.dcm": dicom(scan(), data=b"")}
        )
        read = read_study(write(tmp_path, files))
        np.testing.assert_array_equal(read.pixels[..., FLAIR], planes(seed=3))

    def test_no_field_of_the_patient_is_told(self, tmp_path, capfd, caplog):
        folder = write(tmp_path, EVERYTHING | series(8, "FLAIR"))
        with pytest.raises(AmbiguousSeriesError) as caught:
            read_study(folder)
        told = str(caught.value) + repr(recognise(folder)) + repr(read_study(folder, flair=3))
        assert PATIENT.split("^")[0] not in told + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("taken", "description", "sequence"),
    [
        ("FLAIR", "", "FLAIR"),
        ("T1", "", "pre-contrast T1"),
        ("T1", "AX T1 POST GAD", "post-contrast T1"),
        ("T1+C", "AX T1 PRE", "pre-contrast T1"),
        ("T1", "Sag T1 FLAIR", "pre-contrast T1"),
        ("FLAIR", "FLAIR POST GAD", "FLAIR"),
        ("T2", "", ""),
        ("T1", "3D TOF", ""),
        ("DWI", "b1000", ""),
    ],
)
def test_parameters_and_descriptions_together_tell_a_sequence(taken, description, sequence, tmp_path):
    files = series(1, "FLAIR", description="FLAIR", count=9) | series(2, taken, description=description)
    rows = recognise(write(tmp_path, files | series(3, "localiser"))).found
    told = rows[1].sequence or ("FLAIR" if "another FLAIR" in rows[1].done else "")
    assert told == sequence


class TestExample:
    """The phantom study that is shipped: both T1 on the FLAIR's grid, and once more on their own."""

    def test_t1_on_their_own_grid_show_the_same_tissue(self):
        series = read_study([EXAMPLE / "FLAIR.nii.gz", EXAMPLE / "own-grid"])
        untouched = read_study([EXAMPLE / name for name in ("FLAIR.nii.gz", "T1.nii.gz", "T1-post.nii.gz")])
        assert len(series.notes) == 2
        for channel in (PRE, POST):
            head = untouched.pixels[..., FLAIR] > 30
            pair = series.pixels[head, channel], untouched.pixels[head, channel]
            assert np.corrcoef(pair)[0, 1] > 0.8  # of noisy voxels

    @pytest.mark.slow
    def test_a_t1_that_moved_is_registered(self, tmp_path):
        pytest.importorskip("SimpleITK")
        image = nib.load(EXAMPLE / "T1.nii.gz")
        moved = affine(rotated(7, 0), origin=(2, -9, 5)) @ image.affine
        (tmp_path / "T1.nii.gz").write_bytes(nifti(np.asarray(image.dataobj), moved))
        files = [EXAMPLE / "FLAIR.nii.gz", tmp_path / "T1.nii.gz"]
        by_header, registered = read_study(files), read_study(files, register=True)
        expected = np.asarray(image.dataobj).astype(float)
        apart = [
            np.abs(series.to_source(series.pixels[..., PRE]) - expected).mean()
            for series in (registered, by_header)
        ]
        assert apart[0] < 0.4 * apart[1]
        assert "moved by" in registered.notes[0]


def test_a_folder_of_pictures_is_read_as_slices(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (3, 48, 40, 3), dtype=np.uint8)
    files = {f"p_{number}.tif": tiff(slice_) for number, slice_ in enumerate(pixels)}
    folder = write(tmp_path, files | {"notes.txt": b"text"})
    np.testing.assert_array_equal(read_study(folder).pixels, pixels)
    assert read_study(folder).notes == ("Files that are no images were left out: 1.",)
    assert recognise(folder).candidates == ()


def test_what_is_no_slice_of_a_folder_is_left_out_and_said(tmp_path):
    files = series(1, "FLAIR") | {
        "README.TXT": b"viewer",
        "DICOMDIR": dicom(scan(), data=b""),
        "1/a.tif": tiff(scan()),
    }
    read = read_study(write(tmp_path, {name.removesuffix(".dcm"): data for name, data in files.items()}))
    np.testing.assert_array_equal(read.pixels[..., FLAIR], planes(seed=1))
    assert "Files that are no DICOM images were left out: 3." in read.notes


def test_an_assignment_alone_decides_what_is_read(tmp_path):
    folder = write(tmp_path, EVERYTHING)
    seems = recognise(folder)
    assert (seems.open_channels, len(seems.candidates)) == (frozenset(), 7)
    read = read_study(folder, assignment={seems.chosen[FLAIR]: "flair", seems.chosen[PRE]: "post"})
    assert dict(read.chosen) == {FLAIR: "1.2.3.3", POST: "1.2.3.6"}
    with pytest.raises(SeriesError, match="other files"):
        read_study(folder, assignment={"1.2.3.99": "flair"})


def test_archives_take_no_more_memory_together_than_one_may(tmp_path, monkeypatch):
    monkeypatch.setattr("lgg.io.study.MAX_UNPACKED", 50_000)
    first, second = (archive(series(number, "FLAIR", count=6)) for number in (1, 2))
    assert len(recognise(write(tmp_path, {"1.zip": first})).candidates) == 1
    write(tmp_path, {"2.zip": second})
    with pytest.raises(SeriesError, match=r"2\.zip: .*MiB"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, r"no file or folder study\."),
        ({".hidden/FLAIR.nii.gz": b""}, "no files"),
        ({"notes.txt": b"text"}, "not an image"),
        ({"notes.txt": b"text", "more.txt": b"text"}, "no images"),
        ({**volumes("FLAIR.nii.gz"), **series(1, "FLAIR")}, "both DICOM and NIfTI"),
    ],
    ids=["not there", "hidden", "text", "texts", "both"],
)
def test_what_is_no_study_is_refused(files, message, tmp_path):
    with pytest.raises(SliceError, match=message):
        read_study(write(tmp_path / "study", files or {}))


def test_a_folder_of_very_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "MAX_STUDY_FILES", 3)
    with pytest.raises(SeriesError, match="over 3 files"):
        read_study(write(tmp_path, EVERYTHING))
