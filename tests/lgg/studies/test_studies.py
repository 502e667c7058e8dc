"""Many studies: each gets a folder of its own, whole or not at all, and one that fails stops no other."""

import csv
import json
import os
import time

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest

from lgg.cascade import Cascade
from lgg.errors import DiskError
from lgg.studies import Examiner, Settings, collect
from lgg.studies.find import find_studies, named_studies
from lgg.types import Thresholds
from tests.small_studies import dicom_study, spoil, write_study
from tests.tiny_weights import files_of, use_tiny_networks, write_weights


@pytest.fixture
def cascade(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    weights = write_weights(tmp_path / "weights", thresholds=Thresholds(gate=0, mask=0.3))
    return Cascade.from_pretrained(weights, "unet-mini")


@pytest.fixture
def studies(tmp_path):
    for number in range(3):
        write_study(tmp_path / "studies" / f"patient{number}", seed=number)
    return tmp_path / "studies"


def run(cascade, studies, out, overwrite=False, **settings):
    examiner = Examiner(cascade, out, Settings("unet-mini", **settings))
    return list(examiner.run(find_studies(studies), overwrite))


def rows(out, name="statistics.csv"):
    return list(csv.DictReader((out / name).open()))


def test_a_study_gets_mask_preview_and_statistics(cascade, studies, tmp_path):
    outcome = run(cascade, studies, tmp_path / "out")[0]
    assert {path.name for path in outcome.folder.iterdir()} == {
        "mask.nii.gz",
        "preview.png",
        "statistics.json",
    }
    mask, flair = (
        nib.load(path) for path in (outcome.folder / "mask.nii.gz", studies / "patient0" / "FLAIR.nii.gz")
    )
    assert mask.shape == flair.shape
    np.testing.assert_array_equal(mask.affine, flair.affine)
    numbers = json.loads((outcome.folder / "statistics.json").read_text())
    assert numbers == outcome.statistics
    assert numbers["volume_ml"] == pytest.approx(np.asarray(mask.dataobj).sum() * 20 / 1000)
    assert {"reading", "preprocess", "gate", "segment", "writing"} == set(numbers["seconds"])
    assert all(sequence["found"] for sequence in numbers["sequences"].values())
    assert numbers["made_by"]["segmenter_weights"] == cascade.config.sha256


def test_what_is_asked_for_is_there_too(cascade, studies, tmp_path):
    outcome = run(cascade, studies, tmp_path / "out", formats=("mesh", "dicom-seg", "probability"))[0]
    assert {"probability.nii.gz", "surface.glb"} <= {path.name for path in outcome.folder.iterdir()}
    assert any("no DICOM" in note for note in outcome.statistics["notes"])
    probability = nib.load(outcome.folder / "probability.nii.gz")
    assert probability.get_data_dtype() == np.float32
    assert 0 < probability.get_fdata().max() <= 1
    # Nor has anything to be done again for fewer formats.
    assert all(outcome.skipped for outcome in run(cascade, studies, tmp_path / "out"))


def test_finished_studies_are_left_as_they_are_unless_they_are_to_be_overwritten(cascade, studies, tmp_path):
    run(cascade, studies, tmp_path / "out")
    before = files_of(tmp_path / "out")
    for overwrite in (False, True):
        outcomes = run(cascade, studies, tmp_path / "out", overwrite)
        assert [outcome.skipped for outcome in outcomes] == [not overwrite] * 3
        assert (files_of(tmp_path / "out") == before) == (not overwrite)


def test_what_changed_is_examined_again(cascade, studies, tmp_path):
    out, ours = tmp_path / "out", tmp_path / "out" / "patient1"

    def again(cascade=cascade, **settings):
        outcomes = run(cascade, studies, out, **settings)
        return [outcome.study.name for outcome in outcomes if not outcome.skipped]

    everything = again()
    assert everything == ["patient0", "patient1", "patient2"]
    assert again() == []
    os.utime(studies / "patient1" / "T1.nii.gz", (1, 1))
    assert again() == ["patient1"]
    (ours / "mask.nii.gz").write_bytes((ours / "mask.nii.gz").read_bytes()[:-1])
    assert again() == ["patient1"]
    (ours / "preview.png").unlink()
    assert again() == ["patient1"]
    numbers = json.loads((ours / "statistics.json").read_text())
    older = {name: numbers[name] for name in ("key", "input", "volume_ml")}
    (ours / "statistics.json").write_text(json.dumps(older))
    assert collect(out) == (2, 0)
    assert again() == ["patient1"]
    assert again(formats=("mesh",)) == everything
    assert again(gating="none") == everything
    write_weights(tmp_path / "weights", thresholds=Thresholds(gate=0, mask=0.1))
    assert again(Cascade.from_pretrained(tmp_path / "weights", "unet-mini"), gating="none") == everything


def test_a_study_that_fails_is_listed_until_it_is_mended_and_the_others_are_done(cascade, studies, tmp_path):
    good = (studies / "patient1" / "FLAIR.nii.gz").read_bytes()
    spoil(studies / "patient1")
    outcomes = run(cascade, studies, tmp_path / "out")
    assert [outcome.statistics is not None for outcome in outcomes] == [True, False, True]
    assert "FLAIR" in outcomes[1].reason
    assert str(tmp_path) not in outcomes[1].reason
    assert collect(tmp_path / "out") == (2, 1)
    assert [row["study"] for row in rows(tmp_path / "out")] == ["patient0", "patient2"]
    assert [row["study"] for row in rows(tmp_path / "out", "failures.csv")] == ["patient1"]
    (studies / "patient1" / "FLAIR.nii.gz").write_bytes(good)
    run(cascade, studies, tmp_path / "out")
    assert collect(tmp_path / "out") == (3, 0)
    assert rows(tmp_path / "out", "failures.csv") == []


def test_a_segmentation_belongs_to_the_patient_and_study_of_the_images(cascade, tmp_path):
    folder = tmp_path / "studies" / "series"
    folder.mkdir(parents=True)
    own = {"PatientName": "Müller^Ayşe", "SpecificCharacterSet": "ISO_IR 192"}
    another = {"PatientName": "Roe^Jim", "StudyInstanceUID": "1.2.3.4", "series": "1.2.3.5"}
    for letter, fields in (("a", another), ("b", own)):
        for number, data in enumerate(dicom_study(**fields)):
            (folder / f"{letter}{number}").write_bytes(data)
    examiner = Examiner(cascade, tmp_path / "out", Settings("unet-mini", formats=("dicom-seg",)))
    (refused,) = examiner.run(named_studies([folder]))
    assert "2 examinations" in refused.reason
    (outcome,) = examiner.run(named_studies([folder], flair="2"))
    stored, source = (pydicom.dcmread(path) for path in (outcome.folder / "segmentation.dcm", folder / "b0"))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate"):
        assert stored[keyword].value == source[keyword].value, keyword
    volume = highdicom.seg.segread(outcome.folder / "segmentation.dcm")
    assert volume.number_of_segments == 1
    mask = nib.load(outcome.folder / "mask.nii.gz")
    assert np.asarray(mask.dataobj).sum() == outcome.statistics["voxels"]
    (beside,) = examiner.run(named_studies([folder], flair="1"))
    assert (beside.folder.name, outcome.folder.name) == (beside.study.name, "series")
    assert beside.folder != outcome.folder, "another examination of the folder replaces nothing"
    (again,) = examiner.run(named_studies([folder], flair="2"))
    assert (again.skipped, again.folder) == (True, outcome.folder)


def test_a_bug_fails_one_study_alone(cascade, studies, tmp_path, monkeypatch):
    predict, calls = cascade.predict, iter(range(3))

    def broken(*arguments):
        return predict(*arguments) if next(calls) != 1 else 1 / 0

    monkeypatch.setattr(cascade, "predict", broken)
    outcomes = run(cascade, studies, tmp_path / "out")
    assert [bool(outcome.reason) for outcome in outcomes] == [False, True, False]
    assert "ZeroDivisionError" in outcomes[1].reason


def test_a_full_disk_ends_the_run(cascade, studies, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lgg.files._write", full)
    with pytest.raises(DiskError, match="No space"):
        run(cascade, studies, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir()), "nothing half-written stays"


def test_another_study_of_the_same_name_gets_a_folder_of_its_own(cascade, tmp_path):
    paths = [write_study(tmp_path / name / "p", seed) for seed, name in enumerate("ab")]
    first, second = (named_studies([path]) for path in paths)
    examiner = Examiner(cascade, tmp_path / "out", Settings("unet-mini"))
    for studies in (first, second, first, second):
        (outcome,) = examiner.run(studies)
    assert outcome.skipped
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == "p"
    assert len(names) == 2
    assert names[1].startswith("p-")


def test_what_is_not_ours_is_not_written_over(cascade, studies, tmp_path):
    (tmp_path / "out" / "patient0").mkdir(parents=True)
    (tmp_path / "out" / "patient0" / "thesis.txt").write_text("ten years of work")
    outcome = run(cascade, studies, tmp_path / "out")[0]
    assert outcome.folder.name.startswith("patient0-")
    assert (tmp_path / "out" / "patient0" / "thesis.txt").exists()


def test_what_a_killed_run_left_counts_nowhere_and_is_removed_but_not_what_another_writes(
    cascade, studies, tmp_path
):
    out = tmp_path / "out"
    run(cascade, studies, out)
    (out / "patient0").rename(out / ".new.partial")
    (out / ".old.partial").mkdir()
    os.utime(out / ".old.partial", (time.time() - 1e5,) * 2)
    assert collect(out) == (2, 0)
    again = [outcome.study.name for outcome in run(cascade, studies, out) if not outcome.skipped]
    assert again == ["patient0"]
    assert [path.name for path in out.glob(".*")] == [".new.partial"]


def test_bids_names_lead_with_subject_and_session(cascade, studies, tmp_path):
    (tmp_path / "out").mkdir()
    found = find_studies(studies, bids=True)
    examiner = Examiner(cascade, tmp_path / "out", Settings("unet-mini", bids=True))
    first, *_ = examiner.run(found)
    assert first.folder == tmp_path / "out" / "sub-patient0" / "anat"
    assert (first.folder / "sub-patient0_label-lesion_desc-lgg_mask.nii.gz").exists()
    assert all(outcome.skipped for outcome in examiner.run(found))
    assert collect(tmp_path / "out") == (3, 0)
