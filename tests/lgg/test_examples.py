"""Examples: the shipped ones, and real slices for those who have the data."""

import json

import numpy as np
import pytest

from lgg import examples
from lgg.errors import DataError
from lgg.examples import INDEX, SHIPPED, all_examples, load_examples
from lgg.io import read_mask, read_slice
from tests.tiny_data import write_folder
from tools.local_examples import choose, export, write_examples
from train.data.kaggle_3m import index_folder
from train.pipeline import splits_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"), 6)


def test_exported_slices_are_the_data_sets_own_of_different_patients(data, tmp_path):
    picks = choose(index_folder(data), 3)
    write_examples(picks, tmp_path)
    found = load_examples(tmp_path)
    assert [example.name for example in found] == ["held-out-1", "held-out-2", "held-out-3"]
    for pick, example in zip(picks, found, strict=True):
        assert pick.files.patient in example.caption
        assert np.array_equal(read_slice(example.image).pixels, read_slice(pick.files.image).pixels)
        assert np.array_equal(read_mask(example.mask), read_mask(pick.files.mask))
        assert read_mask(example.mask).sum() == pick.pixels
    assert picks[0].share == 1
    assert 0 < picks[1].pixels <= picks[0].pixels
    assert picks[2].pixels == 0
    assert len({pick.files.patient for pick in picks}) == 3


def test_only_held_out_patients_are_exported(data, tmp_path):
    export(data, tmp_path, count=6)
    held_out = splits_of(index_folder(data), "patient")["test"]
    assert held_out
    for example in load_examples(tmp_path):
        assert any(name in example.caption for name in held_out)


def test_ones_own_come_after_the_shipped_and_take_no_name_of_theirs(data, tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "OWN", tmp_path)
    assert [example.name for example in all_examples()] == [example.name for example in load_examples()]
    write_examples(choose(index_folder(data), 2), tmp_path)
    entries = json.loads((tmp_path / INDEX).read_text())
    entries[1]["name"] = load_examples()[0].name
    (tmp_path / INDEX).write_text(json.dumps(entries))
    found = all_examples()
    assert [example.name for example in found[-1:]] == ["held-out-1"]
    assert len(found) == len(load_examples()) + 1


@pytest.mark.parametrize("broken", ["OWN", "SHIPPED"])
def test_a_damaged_folder_costs_only_its_own(broken, data, tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "OWN", tmp_path / "own")
    write_examples(choose(index_folder(data), 2), tmp_path / "own")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / INDEX).write_text("[")
    monkeypatch.setattr(examples, broken, tmp_path / "damaged")
    with pytest.raises(DataError):
        load_examples(tmp_path / "damaged")
    found = all_examples()
    expected = [SHIPPED] * 6 if broken == "OWN" else [tmp_path / "own"] * 2
    assert [example.image.parent for example in found] == expected
