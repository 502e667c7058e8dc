"""Where it fails: the worst patients, and what seems to be the cause."""

from dataclasses import replace

import pytest

from tests.train.evaluation.test_results import patient
from train.evaluation.results import Results
from train.report.tables import causes, failures

GOOD = replace(patient(volume=0.95), missed_slices=0, false_slices=0, ungated=0.95)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "the outline itself"),
        ({"volume": 0.4, "ungated": 0.7}, "the gate vetoes slices with tumour, which costs 0.30"),
        ({"missed_slices": 4}, "nothing outlined in 4 of 8 slices with tumour"),
        ({"false_slices": 6}, "something outlined in 6 of 12 slices without"),
        ({"tumour_pixels": 2000}, "a small tumour"),
        ({"missing": "post"}, "no post"),
    ],
)
def test_each_cause_is_named_where_it_holds_and_alone(change, words):
    (cause,) = causes(replace(GOOD, **change))
    assert words in cause


def test_a_gate_that_was_not_measured_is_no_cause():
    assert "gate" not in " ".join(causes(replace(GOOD, volume=0.1, ungated=None)))


def test_the_worst_patient_is_on_top_and_the_good_ones_are_left_out():
    rows = [
        GOOD,
        replace(GOOD, patient="TCGA_CS_2", volume=0.5, ungated=0.9),
        replace(GOOD, patient="TCGA_CS_3", volume=0.2, ungated=0.2, tumour_pixels=3000),
    ]
    text = failures(Results(patients=rows), "patient")
    assert "2 of 3 patients below 0.8" in text
    assert text.index("TCGA_CS_3") < text.index("TCGA_CS_2")
    assert "TCGA_CS_1" not in text
    assert "1 have a small tumour, and 1 would be better without the gate" in text


def test_without_failures_there_is_nothing_to_say():
    assert failures(Results(patients=[GOOD]), "patient") == ""
    assert failures(Results(), "patient") == ""
    assert failures(Results(patients=[replace(GOOD, volume=0.1)]), "slice") == ""
