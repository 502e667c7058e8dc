"""Which studies a path, or a folder of many, stands for, and what their folders of results are called."""

from dataclasses import replace
from pathlib import Path

import pytest

from lgg.errors import SeriesError
from lgg.studies.find import Study, find_studies, named_studies, shard
from tests.small_studies import dicom_study, volumes, write_study


def folders(studies):
    return [study.folder for study in studies]


def bids_data(root):
    for subject, session in (("01", "pre"), ("01", "post"), ("02", "")):
        begin = f"sub-{subject}_ses-{session}" if session else f"sub-{subject}"
        anat = root / f"sub-{subject}" / (f"ses-{session}" if session else "") / "anat"
        anat.mkdir(parents=True)
        for name, suffix in (("FLAIR", "FLAIR"), ("T1", "T1w"), ("T1-post", "ce-gd_T1w")):
            (anat / f"{begin}_{suffix}.nii.gz").write_bytes(volumes()[f"{name}.nii.gz"])
    (root / "sub-03" / "anat").mkdir(parents=True)
    (root / "sub-03" / "anat" / "sub-03_T1w.nii.gz").write_bytes(volumes()["T1.nii.gz"])
    (root / "derivatives" / "lgg").mkdir(parents=True)
    return root


def test_a_folder_of_many_holds_a_study_a_folder_archive_or_volume(tmp_path):
    write_study(tmp_path / "b patient")
    write_study(tmp_path / "a")
    write_study(tmp_path / ".hidden")
    (tmp_path / "c.nii.gz").write_bytes(volumes()["FLAIR.nii.gz"])
    (tmp_path / "notes.txt").write_text("no study")
    assert folders(find_studies(tmp_path)) == ["a", "b_patient", "c"]


def test_loose_dicom_files_are_parted_by_their_study(tmp_path):
    for study in ("1.2.3.4", "1.2.3.5"):
        for number, data in enumerate(dicom_study(StudyInstanceUID=study)):
            (tmp_path / f"{study[-1]}-{number}").write_bytes(data)
    found = find_studies(tmp_path)
    assert folders(found) == ["1.2.3.4", "1.2.3.5"]
    assert [len(study.paths) for study in found] == [4, 4]


def test_a_bids_data_set_holds_a_study_a_session_that_has_a_flair(tmp_path):
    found = find_studies(bids_data(tmp_path))
    assert folders(found) == ["sub-01_ses-post", "sub-01_ses-pre", "sub-02"]
    assert {role: Path(file).name for role, file in found[2].choices.items()} == {
        "flair": "sub-02_FLAIR.nii.gz",
        "pre": "sub-02_T1w.nii.gz",
        "post": "sub-02_ce-gd_T1w.nii.gz",
    }


def test_results_can_be_laid_out_as_bids(tmp_path):
    assert folders(find_studies(bids_data(tmp_path / "bids"), bids=True))[0] == "sub-01/ses-post/anat"
    write_study(tmp_path / "plain" / "Doe_7")
    assert folders(find_studies(tmp_path / "plain", bids=True)) == ["sub-Doe7/anat"]


def test_results_are_no_study(tmp_path):
    write_study(tmp_path / "a")
    write_study(tmp_path / "results")
    assert folders(find_studies(tmp_path, out=tmp_path / "results")) == ["a"]
    with pytest.raises(SeriesError, match="among the studies"):
        find_studies(tmp_path, out=tmp_path)


@pytest.mark.parametrize("bids", [False, True])
def test_no_two_studies_share_a_folder(tmp_path, bids):
    paths = [tmp_path / "one" / "A b", tmp_path / "two" / "a_b", tmp_path / "three" / "A?b"]
    for path in paths:
        write_study(path)
    found = folders(named_studies(paths, bids))
    assert len({folder.casefold() for folder in found}) == 3
    assert found == folders(named_studies(paths, bids)), "and each keeps its own from run to run"


def test_files_of_sequences_are_one_study(tmp_path):
    folder = write_study(tmp_path / "patient")
    flair, pre = (str(folder / name) for name in ("FLAIR.nii.gz", "T1.nii.gz"))
    (study,) = named_studies([], flair=flair, pre=pre)
    assert study.folder == "FLAIR"
    assert {path.name for path in study.files()} == {"FLAIR.nii.gz", "T1.nii.gz"}


@pytest.mark.parametrize(
    ("paths", "choices", "word"),
    [([], {}, "study"), ([Path("nowhere")], {}, "nowhere"), ([], {"flair": "nowhere.nii"}, "nowhere")],
)
def test_what_is_not_there_is_named(paths, choices, word):
    with pytest.raises(SeriesError, match=word):
        named_studies(paths, **choices)


def test_parts_hold_every_study_once():
    studies = [Study(f"patient{number}") for number in range(10)]
    parts = [shard(studies, f"{number}/3") for number in (1, 2, 3)]
    assert sorted(folder for part in parts for folder in folders(part)) == sorted(folders(studies))


@pytest.mark.parametrize("which", ["0/3", "4/3", "a/b", "3", "1/0"])
def test_a_part_that_is_none_is_refused(which):
    with pytest.raises(SeriesError, match="shard"):
        shard([], which)


def test_a_changed_file_changes_the_fingerprint(tmp_path):
    (study,) = named_studies([write_study(tmp_path / "a")])
    before = study.fingerprint()
    chosen = replace(study, choices={"flair": "2"})
    assert chosen.fingerprint() != before
    assert chosen.key == study.key
    assert before == study.fingerprint()
    (tmp_path / "a" / "T1.nii.gz").unlink()
    assert study.fingerprint() != before
