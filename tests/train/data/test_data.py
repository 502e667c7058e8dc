"""What training learns from: the index, the volumes, the splits."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lgg.errors import DataError
from lgg.types import FLAIR
from train.data.dataset import load_slices
from train.data.kaggle_3m import index_folder, load_volume, load_volumes
from train.data.splits import fixed, select

A, B = "TCGA_AA_0001_20000101", "TCGA_BB_0002_20000101"


def write(home, number, side=32, mask_side=None, value=90):
    """One slice whose FLAIR and mask hold a square, as `kaggle_3m` names its files."""
    home.mkdir(parents=True, exist_ok=True)
    image, mask = np.full((side, side, 3), 20, np.uint8), np.zeros((mask_side or side,) * 2, np.uint8)
    image[8:24, 8:24], mask[10:14, 10:18] = value, 255
    Image.fromarray(image).save(home / f"{home.name}_{number}.tif")
    Image.fromarray(mask).save(home / f"{home.name}_{number}_mask.tif")


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "archive" / "kaggle_3m"
    for number in (1, 2, 9, 10, 11):
        write(root / A, number, value=90 + number)
    write(root / B, 3)
    (root / "data.csv").write_text("Patient\n")
    return tmp_path / "archive"


class TestIndex:
    @pytest.mark.parametrize("copy", [None, "lgg-mri-segmentation/kaggle_3m", "kaggle_3m/kaggle_3m"])
    @pytest.mark.parametrize("inner", [".", "kaggle_3m"])
    def test_finds_patients_from_the_archive_or_the_folder_and_a_second_copy_once(self, data, copy, inner):
        if copy:
            shutil.copytree(data / "kaggle_3m", data / "copy")
            shutil.move(data / "copy", data / copy)
        found = index_folder(data / inner)
        assert {name: len(slices) for name, slices in found.items()} == {A: 5, B: 1}

    def test_sorts_slices_by_number(self, data):
        slices = index_folder(data)[A]
        assert [slice_.number for slice_ in slices] == [1, 2, 9, 10, 11]
        assert [slice_.image.name for slice_ in slices[-2:]] == [f"{A}_10.tif", f"{A}_11.tif"]
        assert all(slice_.mask.name == f"{slice_.id}_mask.tif" for slice_ in slices)
        assert load_volume(slices).pixels[:, 16, 16, FLAIR].tolist() == [91, 92, 99, 100, 101]

    def test_names_every_file_that_lacks_its_mask_its_image_or_a_number(self, data):
        (data / "kaggle_3m" / A / f"{A}_9_mask.tif").unlink()
        (data / "kaggle_3m" / B / f"{B}_3.tif").rename(data / "kaggle_3m" / B / "overview.tif")
        with pytest.raises(DataError) as caught:
            index_folder(data)
        for words in (
            f"{A}_9.tif has no mask",
            f"{B}_3_mask.tif has no image",
            "overview.tif has no slice number",
        ):
            assert words in str(caught.value)
        assert str(data) not in str(caught.value)

    @pytest.mark.parametrize("folder", [".", "nowhere"])
    def test_of_an_empty_or_missing_folder_says_what_was_expected(self, tmp_path, folder):
        with pytest.raises(DataError, match="No patient") as caught:
            index_folder(tmp_path / folder)
        assert str(tmp_path) not in str(caught.value)


class TestVolume:
    @pytest.mark.parametrize(("side", "mask_side", "name"), [(32, 48, "10_mask"), (48, 48, "10")])
    def test_with_a_mask_or_slice_of_another_size_names_it(self, data, side, mask_side, name):
        write(data / "kaggle_3m" / A, 10, side, mask_side)
        with pytest.raises(DataError, match=rf"{A}_{name}\.tif is 48×48, .* 32×32"):
            load_volume(index_folder(data)[A])

    def test_with_a_damaged_file_names_it_without_its_folder(self, data):
        (data / "kaggle_3m" / A / f"{A}_9.tif").write_bytes(b"junk")
        with pytest.raises(DataError, match=f"{A}_9") as caught:
            load_volume(index_folder(data)[A])
        assert str(data) not in str(caught.value)

    def test_of_a_split_holds_whole_patients_or_the_slices_named(self, data):
        index = index_folder(data)
        for ids, values in (
            ([f"{A}_10", f"{A}_1", f"{B}_3"], {A: [91, 100], B: [90]}),
            ([A], {A: [91, 92, 99, 100, 101]}),
        ):
            found = load_volumes(index, ids)
            assert {volume.patient: volume.pixels[:, 16, 16, FLAIR].tolist() for volume in found} == values

    def test_statistics_stay_the_volumes_where_slices_are_left_out(self, data):
        index = index_folder(data)
        kept = load_slices(index, 32, [f"{A}_2", f"{A}_10"])
        whole = load_slices(index, 32)
        assert (kept.patient.tolist(), whole.patient.tolist()) == ([0, 0], [0, 0, 0, 0, 0, 1])
        for name in ("fitted", "masks", "mean", "std", "tumour"):
            assert torch.equal(getattr(kept, name), getattr(whole, name)[[1, 3]])


class TestSplits:
    @pytest.mark.parametrize("protocol", ["patient", "slice"])
    def test_fixed_sides_are_disjoint(self, protocol):
        names = [name for side in fixed()[protocol].values() for name in side]
        assert len(names) == len(set(names)) == {"patient": 100, "slice": 3574}[protocol]

    def test_fixed_folds_hold_every_patient_once(self):
        names = [name for fold in fixed()["folds"] for name in fold]
        assert len(fixed()["folds"]) == 5
        assert len(names) == len(set(names))
        assert set(names) == {name for side in fixed()["patient"].values() for name in side}
        assert set(fixed()["regression"]) <= set(fixed()["patient"]["test"])

    def test_known_names_stay_on_their_fixed_side(self):
        sides = fixed()["patient"]
        chosen = sides["test"][:2] + sides["train"][5:7] + sides["validation"][-1:]
        found = select(chosen, "patient")
        assert found == {"train": chosen[2:4], "validation": chosen[4:], "test": chosen[:2]}

    @pytest.mark.parametrize("protocol", ["patient", "slice"])
    @pytest.mark.parametrize("count", [3, 9, 10, 37, 200])
    def test_other_data_is_shared_out_once_and_always_alike(self, protocol, count):
        keys = [f"CASE_{number}_{number % 3}" for number in range(count)]
        found = select(keys, protocol)
        assert sorted(name for side in found.values() for name in side) == sorted(keys)
        assert all(found.values())
        assert [len(found[side]) for side in ("validation", "test")] == pytest.approx([count / 10] * 2, abs=1)
        assert select(keys[::-1], protocol) == found

    def test_other_patients_are_stratified_by_site_and_tumour_volume(self):
        volumes = {f"TCGA_{site}_{n:02d}_x": n for site in ("AA", "BB") for n in range(20)}
        found = select(list(volumes), "patient", volumes)
        for side in (found["validation"], found["test"]):
            groups = [(name[5:7], volumes[name] >= 10) for name in side]
            assert sorted(groups) == [("AA", False), ("AA", True), ("BB", False), ("BB", True)]

    @pytest.mark.parametrize("protocol", ["patient", "slice"])
    def test_two_data_sets_may_not_be_mixed(self, protocol):
        with pytest.raises(DataError, match="CASE_1"):
            select([fixed()[protocol]["train"][0], "CASE_1"], protocol)
