"""Which volume is which sequence: guessed by the words that scanners and data sets use."""

import pytest

from lgg.io.sequences import AmbiguousSeriesError, choose, recognise_file
from lgg.types import FLAIR, POST, PRE, Candidate

LABELS = {
    FLAIR: "Ax T2 FLAIR|FLAIR_TRA_5MM|t2_tirm_tra_dark-fluid|BraTS-GLI-00000-000-t2f.nii|flair.nii|"
    "AX FLAIR POST GAD|eT1W_FLAIR|3D_CUBE_FLAIR_SAG",
    PRE: "Ax T1 pre|AX T1 W/O CONTRAST|T1 without contrast|pre.nii|SAG T1 FSE|T1 native tra|"
    "BraTS-GLI-00000-000-t1n.nii|MPRAGE non-contrast|patient_t1.nii.gz",
    POST: "Ax T1 +C|AX T1 POST|T1 post-contrast|post.nii|t1_fl2d_tra_KM|Ax SPGR GAD|T1 c|patient_t1ce.nii.gz|"
    "BraTS-GLI-00000-000-t1c.nii|t1gd.nii|AX T1 GD|AX T1 with contrast",
    None: "|axial|Ax T2 FSE|DWI b1000|ADC|3-plane localizer|seg.nii|T1 map|t1_mask.nii|SWI|perfusion post|"
    "BraTS-GLI-00000-000-t2w.nii|pd tse",
}


@pytest.mark.parametrize(
    ("label", "channel"), [(label, channel) for channel in LABELS for label in LABELS[channel].split("|")]
)
def test_a_label_tells_its_sequence_or_nothing(label, channel):
    assert recognise_file(label)[0] == channel


def candidates(*labels):
    return [Candidate(str(number), label, recognise_file(label)[0]) for number, label in enumerate(labels)]


def test_a_lone_candidate_is_flair_whatever_its_name():
    (candidate,) = candidates("Ax T1 +C")
    assert choose([candidate]) == {FLAIR: candidate}


@pytest.mark.parametrize("labels", [("FLAIR", "FLAIR 2"), ("FLAIR", "T1 +C", "T1 +C sag")], ids=str)
def test_two_of_one_sequence_ask_for_a_choice(labels):
    with pytest.raises(AmbiguousSeriesError, match="the same sequence"):
        choose(candidates(*labels))


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"0": "pre"}, "known to be FLAIR"), ({"0": "flair", "1": "flair"}, "the same sequence")],
)
def test_a_choice_without_flair_or_with_two_asks_again(choice, message):
    with pytest.raises(AmbiguousSeriesError, match=message):
        choose(candidates("a", "b"), choice)
