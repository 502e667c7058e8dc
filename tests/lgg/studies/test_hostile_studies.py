"""Hostile and damaged files as studies: each has its reason, and the good ones beside them are done."""

import numpy as np
import pytest

from lgg.cascade import Cascade
from lgg.studies import Examiner, Settings, collect
from lgg.studies.find import find_studies
from tests.dicom_files import DEFLATED, dicom, scan
from tests.reading_files import VALID, forged_tiff, memory_below, mutate
from tests.series_files import affine, archive, nifti
from tests.small_studies import dicom_study, volumes, write_study
from tests.tiny_weights import use_tiny_networks, write_weights

PLACE = affine(np.eye(3))
FLAIR = nifti(np.ones((40, 40, 8), np.int16), PLACE, packed=False)


def with_shape(data, *shape):
    """A NIfTI file that says it is larger, or smaller, than it is."""
    return data[:40] + np.array([3, *shape, 1, 1, 1, 1], "<i2").tobytes() + data[56:]


#: File of a study → what is wrong with it.
HOSTILE = {
    "empty": {"FLAIR.nii": b""},
    "no-files": {},
    "text": {"FLAIR.nii": b"voxels to follow"},
    "huge": {"FLAIR.nii": with_shape(FLAIR, 32767, 32767, 32767)},
    "negative": {"FLAIR.nii": with_shape(FLAIR, -40, 40, 8)},
    "cut": {"FLAIR.nii": FLAIR[:-1]},
    "constant": {"FLAIR.nii": FLAIR},
    "not-finite": {"FLAIR.nii": nifti(np.full((40, 40, 8), np.nan, np.float32), PLACE, packed=False)},
    "cut-archive": {"study.zip": archive(volumes())[:-100]},
    "nested": {"study.zip": archive({"inner.zip": archive(volumes())})},
    "climbing": {"study.zip": archive({"../../FLAIR.nii": FLAIR[:300]})},
    "deflated": {"a.dcm": dicom(scan(), DEFLATED)},
    "no-pixels": {"a.dcm": dicom(scan(), data=b"")},
    "one-place": {f"{number}.dcm": data for number, data in enumerate(dicom_study(step=0.0))},
    "forged-tiff": {"slice.tif": forged_tiff(100_000, 100_000)},
    "two-flairs": {"FLAIR-a.nii": FLAIR, "FLAIR-b.nii": FLAIR},
}


@pytest.fixture
def examiner(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    cascade = Cascade.from_pretrained(write_weights(tmp_path / "weights"), "unet-mini")
    return Examiner(cascade, tmp_path / "out", Settings("unet-mini", formats=("dicom-seg",)))


def test_hostile_studies_have_reasons_and_the_good_ones_are_done(examiner, tmp_path):
    root = tmp_path / "studies"
    for name, files in HOSTILE.items():
        (root / name).mkdir(parents=True)
        for file, data in files.items():
            (root / name / file).write_bytes(data)
    for number, name in enumerate(("aa-good", "m-good", "zz-good")):
        write_study(root / name, seed=number)
    with memory_below(2**29):
        outcomes = {outcome.study.name: outcome for outcome in examiner.run(find_studies(root))}
    assert {name for name, outcome in outcomes.items() if outcome.statistics} == {
        "aa-good",
        "m-good",
        "zz-good",
    }
    for name in HOSTILE:
        reason = outcomes[name].reason
        assert len(reason.split()) > 4, name
        assert "unexpected" not in reason, f"{name}: {reason}"
        assert str(tmp_path) not in reason, name
    assert collect(tmp_path / "out") == (3, len(HOSTILE))


def test_mutated_studies_are_examined_or_have_a_reason(examiner, tmp_path):
    root, random = tmp_path / "studies", np.random.default_rng(0)
    sources = {"scan.tif": VALID["TIFF"], "FLAIR.nii": volumes()["FLAIR.nii.gz"], "a.dcm": dicom(scan())}
    for number in range(30):
        for file, data in sources.items():
            folder = root / f"{file}-{number}"
            folder.mkdir(parents=True)
            (folder / file).write_bytes(mutate(data, random))
    for outcome in examiner.run(find_studies(root)):
        assert outcome.statistics or "unexpected" not in outcome.reason, outcome


def test_a_name_that_no_disk_would_take_is_made_one(examiner, tmp_path):
    write_study(tmp_path / "studies" / ("Ä" * 80 + " ; $(touch x) \n'"))
    (outcome,) = examiner.run(find_studies(tmp_path / "studies"))
    assert outcome.statistics
    assert set(" ;$()\n'").isdisjoint(outcome.folder.name)
