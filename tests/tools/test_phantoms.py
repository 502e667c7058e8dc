"""The shipped example slices and the command that makes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from PIL import Image
from scipy import ndimage

from lgg.errors import DataError
from lgg.examples import SHIPPED, Example, load_examples
from lgg.types import FLAIR

LESIONS = {
    # name: (components, smallest and largest plausible area in pixels of about 1 mm²)
    "large-lesion": (1, 2000, 5000),
    "small-lesion": (1, 200, 700),
    "two-lesions": (2, 700, 2500),
    "flair-only": (1, 700, 2500),
    "healthy": (0, 0, 0),
    "healthy-higher": (0, 0, 0),
}
EXAMPLES = load_examples()


def image_of(example: Example) -> np.ndarray:
    return np.asarray(Image.open(example.image))


def flair_of(example: Example) -> np.ndarray:
    image = image_of(example)
    return (image if image.ndim == 2 else image[..., FLAIR]).astype(float)


def mask_of(example: Example) -> np.ndarray:
    assert example.mask is not None
    return np.asarray(Image.open(example.mask))


def test_six_examples_ship_in_display_order() -> None:
    assert [example.name for example in EXAMPLES] == list(LESIONS)


def test_the_folder_is_small_enough_for_a_repository() -> None:
    assert 1_000_000 < sum(file.stat().st_size for file in SHIPPED.rglob("*")) < 6_000_000


def test_the_copyright_notice_of_the_template_ships() -> None:
    notice = " ".join((SHIPPED / "NOTICE.md").read_text(encoding="utf-8").replace(">", " ").split())
    assert "Copyright (C) 1993–2004 Louis Collins, McConnell Brain Imaging Centre" in notice
    assert "provided that the above copyright notice appear in all copies" in notice


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_a_slice_with_the_lesions_that_its_title_promises(example: Example) -> None:
    image, mask, flair = image_of(example), mask_of(example), flair_of(example)
    assert image.dtype == mask.dtype == np.uint8
    assert image.shape == ((256, 256) if example.name == "flair-only" else (256, 256, 3))
    assert mask.shape == (256, 256)
    assert set(np.unique(mask)) <= {0, 255}
    components, smallest, largest = LESIONS[example.name]
    labels, count = ndimage.label(mask)
    assert count == components
    assert smallest <= np.count_nonzero(mask) <= largest
    near = ndimage.binary_dilation(mask > 0, iterations=3)
    for number in range(1, count + 1):
        around = ndimage.binary_dilation(labels == number, iterations=8) & ~near
        assert np.median(flair[labels == number]) > 1.3 * np.median(flair[around])


STUDY = ("FLAIR", "T1", "T1-post", "mask", "own-grid/T1", "own-grid/T1-post")


def study_in(folder: Path) -> dict[str, nib.Nifti1Image]:
    return {name: nib.load(folder / "study" / f"{name}.nii.gz") for name in STUDY}


def test_the_study_is_one_head_in_three_sequences_with_its_mask() -> None:
    study = study_in(SHIPPED)
    flair, mask = (np.asarray(study[name].dataobj) for name in ("FLAIR", "mask"))
    assert flair.shape == mask.shape == (256, 256, 28)
    assert set(np.unique(mask)) == {0, 1}
    assert np.count_nonzero(mask.any(axis=(0, 1))) == 10
    around = ndimage.binary_dilation(mask, iterations=4) & (flair > 20)
    assert flair[mask > 0].mean() > 1.3 * flair[around & (mask == 0)].mean()
    for name in ("T1", "T1-post", "mask"):
        np.testing.assert_array_equal(study[name].affine, study["FLAIR"].affine)


def test_the_study_s_t1s_are_there_on_a_tilted_grid_of_their_own_too() -> None:
    study = study_in(SHIPPED)
    own = study["own-grid/T1"]
    assert own.shape != study["T1"].shape
    assert not np.allclose(own.affine[:3, :3], study["T1"].affine[:3, :3], atol=0.1)
    back = np.asarray(resample_from_to(own, study["T1"], order=1).dataobj)
    plain = np.asarray(study["T1"].dataobj)
    assert np.corrcoef(back.ravel(), plain.ravel())[0, 1] > 0.9


def folder_with(tmp_path: Path, entries: object) -> Path:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "examples.json").write_text(json.dumps(entries))
    return tmp_path


ENTRY = {"name": "a", "title": "A", "caption": "A slice.", "image": "a.png", "mask": "a.png"}


def test_a_folder_of_ones_own_may_have_no_mask(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, [{**ENTRY, "mask": None}])
    assert load_examples(folder) == [Example("a", "A", "A slice.", tmp_path / "a.png", None)]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": 1}, "must hold a list"),
        ([{**ENTRY, "title": 3}], "needs texts"),
        ([{**ENTRY, "image": "../a.png"}], "does not lie beside"),
        ([{**ENTRY, "mask": 7}], "does not lie beside"),
        ([ENTRY, ENTRY], "name twice"),
    ],
)
def test_a_broken_list_is_explained_without_a_path(tmp_path: Path, entries: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        load_examples(folder_with(tmp_path, entries))
    assert str(tmp_path) not in str(error.value)


def test_a_folder_without_a_readable_list_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no examples\.json"):
        load_examples(tmp_path)
    (tmp_path / "examples.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        load_examples(tmp_path)


@pytest.mark.slow
def test_the_command_writes_the_shipped_examples(tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tools.phantoms", "--out", str(tmp_path)]
    subprocess.run(command, check=True, env=environment)
    expected = {file.name for file in SHIPPED.iterdir() if not file.name.startswith("__")}  # no code
    assert {file.name for file in tmp_path.iterdir()} == expected
    for shipped, made in zip(EXAMPLES, load_examples(tmp_path), strict=True):
        assert (shipped.title, shipped.caption) == (made.title, made.caption)
        # Another machine's arithmetic may round a grey level the other way, now and then.
        assert np.abs(flair_of(shipped) - flair_of(made)).max() <= 1
        assert np.mean(image_of(shipped) != image_of(made)) < 0.001
        assert np.count_nonzero(mask_of(shipped) != mask_of(made)) <= 3
    study = study_in(tmp_path)
    for name, volume in study_in(SHIPPED).items():
        np.testing.assert_allclose(volume.affine, study[name].affine)
        assert np.mean(np.asarray(volume.dataobj) != np.asarray(study[name].dataobj)) < 0.001


def test_the_same_case_gives_the_same_bytes_and_those_that_ship(tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    from tools.phantoms.__main__ import write_case
    from tools.phantoms.anatomy import load_template

    for run in ("first", "second"):
        write_case(tmp_path / run, "small-lesion", load_template())
    for name in ("small-lesion.tif", "small-lesion_mask.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    # Another machine's arithmetic may round a grey level the other way, now and then.
    shipped, made = (
        np.asarray(Image.open(folder / "small-lesion.tif")).astype(int)
        for folder in (SHIPPED, tmp_path / "first")
    )
    assert np.abs(shipped - made).max() <= 1
