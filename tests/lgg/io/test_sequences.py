"""Which volume is which sequence: guessed by the words that scanners and data sets use."""

import pytest

from lgg.errors import SeriesError
from lgg.io.sequences import AmbiguousSeriesError, choose, guess
from lgg.types import FLAIR, POST, PRE, Candidate


@pytest.mark.parametrize(
    "label",
    [
        *(
            "Ax T2 FLAIR",
            "FLAIR_TRA_5MM",
            "t2_tirm_tra_dark-fluid",
            "BraTS-GLI-00000-000-t2f.nii",
            "flair.nii",
        ),
        *("AX FLAIR POST GAD", "eT1W_FLAIR", "3D_CUBE_FLAIR_SAG"),
    ],
)
def test_flair(label):
    assert guess(label) == FLAIR


@pytest.mark.parametrize(
    "label",
    [
        *("Ax T1 pre", "AX T1 W/O CONTRAST", "T1 without contrast", "pre.nii", "SAG T1 FSE", "T1 native tra"),
        *("BraTS-GLI-00000-000-t1n.nii", "MPRAGE non-contrast", "patient_t1.nii.gz"),
    ],
)
def test_pre_contrast(label):
    assert guess(label) == PRE


@pytest.mark.parametrize(
    "label",
    [
        *("Ax T1 +C", "AX T1 POST", "T1 post-contrast", "post.nii", "t1_fl2d_tra_KM", "Ax SPGR GAD", "T1 c"),
        *(
            "patient_t1ce.nii.gz",
            "BraTS-GLI-00000-000-t1c.nii",
            "t1gd.nii",
            "AX T1 GD",
            "AX T1 with contrast",
        ),
    ],
)
def test_post_contrast(label):
    assert guess(label) == POST


@pytest.mark.parametrize(
    "label",
    [
        *(
            "",
            "axial",
            "Ax T2 FSE",
            "DWI b1000",
            "ADC",
            "3-plane localizer",
            "seg.nii",
            "T1 map",
            "t1_mask.nii",
        ),
        *("SWI", "perfusion post", "BraTS-GLI-00000-000-t2w.nii", "pd tse"),
    ],
)
def test_other_names_tell_nothing(label):
    assert guess(label) is None


def candidates(*labels):
    return [Candidate(str(number), label, guess(label)) for number, label in enumerate(labels)]


def test_a_lone_candidate_is_flair_whatever_its_name():
    (one,) = candidates("Ax T1 +C")
    assert choose([one]) == {FLAIR: one}


def test_what_is_no_sequence_of_these_is_ignored():
    localizer, flair = candidates("localizer", "FLAIR")
    assert choose([localizer, flair]) == {FLAIR: flair}


@pytest.mark.parametrize("labels", [("FLAIR", "FLAIR 2"), ("FLAIR", "T1 +C", "T1 +C sag")], ids=str)
def test_two_of_one_sequence_ask_for_a_choice(labels):
    with pytest.raises(AmbiguousSeriesError, match="the same sequence"):
        choose(candidates(*labels))


def test_a_choice_without_flair_asks_for_one():
    with pytest.raises(AmbiguousSeriesError, match="known to be FLAIR"):
        choose(candidates("a", "b"), {"0": "pre"})


def test_two_volumes_cannot_be_chosen_as_one_sequence():
    with pytest.raises(SeriesError, match="the same sequence"):
        choose(candidates("a", "b"), {"0": "flair", "1": "flair"})
