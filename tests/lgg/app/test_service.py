"""Examining a series batch after batch: the same as in one go, with progress, and it can be left."""

from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import tifffile

from lgg.app.api import Api
from lgg.app.controls import Settings
from lgg.app.series_tab import SeriesEvents
from lgg.app.service import EXTRA, Desk, Request, SeriesDesk, Stops, assigned, extra_map
from lgg.cascade import BATCH
from lgg.errors import SeriesError, SliceError, WeightsError
from lgg.models import BUILDERS
from lgg.postprocess import confirmed
from lgg.preprocess import prepare
from tests.lgg.test_cascade import Bright, Level, cascade, head_with_lesion
from tests.series_files import affine, nifti, slice_files, slices

COUNT = 2 * BATCH + 3
SETTINGS = Settings("fill", 1, threshold=0.5, gate=0.5, opacity=0.35)


@pytest.fixture
def uploads(tmp_path):
    """A file a slice; every other pair is too dim for the gate."""
    pixels = head_with_lesion(60, 44)[0].pixels
    series = np.stack([pixels * (1 if number % 4 < 2 else 0.2) for number in range(COUNT)]) / 400 * 255
    for name, data in slice_files(series.astype(np.uint8)).items():
        (tmp_path / name).write_bytes(data)
    return tuple(str(path) for path in tmp_path.iterdir())


@pytest.fixture
def desk():
    return SeriesDesk({"unet": cascade(Level(0.5), Bright())})


def seen(desk):
    return desk.cascades["unet"]._segmenter.seen


def test_batches_are_the_whole(desk, uploads):
    made, series = desk.cascades["unet"], desk.series(Request(uploads, "unet"))
    whole = made.predict(series).predictions
    assert [one.area for one in whole] == list(desk.result(Request(uploads, "unet")).areas)
    for size in (1, BATCH, 100):
        batches = list(made.predict_batches(series, size=size))
        assert [len(one) for one in batches[:-1]] == [size] * (len(batches) - 1)
        parts = confirmed([one for batch in batches for one in batch])
        for one, other in zip(parts, whole, strict=True):
            assert one.gate_probability == pytest.approx(other.gate_probability, abs=1e-6)
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-5)
            np.testing.assert_array_equal(one.mask, other.mask)
            np.testing.assert_array_equal(one.head, other.head)
    assert any(one.area for one in whole)
    assert not all(one.passed for one in whole)


def test_another_process_may_run_the_batches(desk, uploads):
    made, asked = desk.cascades["unet"], []

    def run(prepared, floor):
        asked.append((prepared.pixels.shape, prepared.heads.shape, len(prepared.stats), floor))
        return made.raw(prepared, floor)

    series = desk.series(Request(uploads, "unet"))
    list(made.predict_batches(series, size=10, run=run))
    assert asked == [((n, 60, 44, 3), (n, 60, 44), n, made.series_thresholds.gate) for n in (10, 9)]


def test_progress_leads_to_the_result(desk, uploads):
    told = list(desk.examine(Request(uploads, "unet")))
    assert [(one.done, one.slices) for one in told] == [
        (0, 0),
        *((done, COUNT) for done in (0, BATCH, 2 * BATCH, COUNT, COUNT)),
    ]
    assert [one.result is None for one in told] == [True] * 5 + [False]
    assert len(told[-1].result) == COUNT


def test_leaving_between_batches_spares_the_rest(desk, uploads):
    running = desk.examine(Request(uploads, "unet"))
    while next(running).done == 0:
        pass
    running.close()
    assert 0 < seen(desk) <= BATCH
    assert len(desk._found) == 0, "half a series is not a result"


def test_what_was_examined_is_remembered(desk, uploads):
    order = Request(uploads, "unet")
    first = desk.result(order)
    before = seen(desk)
    assert desk.result(order).predictions is first.predictions
    assert seen(desk) == before


def test_uploads_that_are_gone_are_missed_in_words(desk, tmp_path):
    with pytest.raises(SliceError, match="Upload it once more") as caught:
        desk.result(Request((str(tmp_path / "gone.zip"),), "unet"))
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(SeriesError, match="nothing to examine"):
        desk.result(Request((), "unet"))


def test_an_architecture_without_weights_is_refused(desk, uploads):
    with pytest.raises(WeightsError):
        desk.result(Request(uploads, "../gate"))


def test_a_visitors_choice_becomes_an_assignment():
    assert assigned(["a", "b", ""]) == (("a", "pre"), ("b", "flair"))
    with pytest.raises(SeriesError, match="FLAIR"):
        assigned(["a", "", None])
    with pytest.raises(SeriesError, match="two sequences"):
        assigned(["a", "a", ""])


def test_a_failure_clears_the_last_result_and_says_why(desk, tmp_path):
    (tmp_path / "junk.tif").write_bytes(b"no picture" * 50)
    *_, said = SeriesEvents(desk).start([str(tmp_path / "junk.tif")], "unet", False, [], SETTINGS)
    assert "not an image" in said["said"]
    assert str(tmp_path) not in said["said"]
    assert said["stop"].visible is False


def test_a_visitor_who_stops_gets_no_more_than_that_and_nothing_is_kept(desk, uploads):
    stops = Stops()
    with stops.running("this one") as stopped:
        steps = SeriesEvents(desk).start(uploads, "unet", False, [], SETTINGS, stopped)
        said = [next(steps)["said"]]
        stops.ask("another")
        said.append(next(steps)["said"])
        stops.ask("this one")
        *rest, last = steps
    assert all("progress" in words for words in said)
    assert rest == []
    assert "Cancelled" in last["said"]
    assert (last["start"].interactive, last["stop"].visible) == (True, False)
    assert last["order"] is None


def test_what_was_stopped_can_begin_again():
    stops = Stops()
    stops.ask("visitor")
    with stops.running("visitor") as first:
        assert not first(), "what was asked before it ran does not count"
        stops.ask("visitor")
        assert first()
    with stops.running("visitor") as second:
        assert not second()


def test_sequences_are_asked_for_and_then_used(desk, tmp_path):
    voxels = slices(3)
    for name, channel in (("a", 0), ("b", 1), ("<c>", 2)):
        data = nifti(voxels[..., channel].T.astype("int16"), affine(np.eye(3)))
        (tmp_path / f"{name}.nii.gz").write_bytes(data)
    paths = sorted(str(path) for path in tmp_path.iterdir())
    events = SeriesEvents(desk)
    *_, asked = events.start(paths, "unet", False, [], SETTINGS)
    assert asked["asked"] is True
    assert "&lt;c&gt;" in asked["said"]
    assert "<c>" not in asked["said"]
    assert asked["flair"].choices == [(f"{name}.nii", f"{name}.nii") for name in ("<c>", "a", "b")]
    *_, shown = events.start(paths, "unet", True, ["a.nii", "b.nii", ""], SETTINGS)
    assert shown["order"].assignment == (("a.nii", "pre"), ("b.nii", "flair"))
    assert len(desk.result(shown["order"])) == 3


def test_both_thresholds_decide_all_slices_and_no_network_runs(desk, uploads):
    events, order = SeriesEvents(desk), Request(uploads, "unet")
    result = desk.result(order)
    assert 0 < len(result.suspected) < COUNT
    before = seen(desk)
    everything = events.threshold(1, order, replace(SETTINGS, gate=0.0))
    nothing = events.threshold(1, order, replace(SETTINGS, gate=1.0))
    assert f"the gate passed {COUNT}" in everything["facts"]
    assert "No glioma found" in nothing["said"]
    assert seen(desk) == before
    kept = len(desk._found)
    assert desk.decided(order, lambda own: replace(own, gate=1.0)).voxels == 0
    assert len(desk._found) == kept, "what was decided once is remembered"
    assert desk.decided(order, lambda own: own).areas == result.areas


@pytest.mark.parametrize("layer", EXTRA)
def test_a_slice_is_explained_by_its_volumes_statistics_and_once(uploads, layer):
    desk = SeriesDesk({"unet": cascade(BUILDERS["gate"]().eval(), Bright())})
    events, order = SeriesEvents(desk), Request(uploads, "unet")
    shown = events.slice(2, order, replace(SETTINGS, layer=layer))
    assert shown["picture"]["alt_text"].startswith("Slice 2 of")
    before = seen(desk)
    again = events.slice(2, order, replace(SETTINGS, layer=layer, opacity=0.35))
    np.testing.assert_array_equal(again["picture"]["value"], shown["picture"]["value"])
    assert seen(desk) == before
    prepared = prepare(desk.series(order).pixels, "volume")[1:2]
    expected = extra_map(desk.cascades["unet"], prepared, layer)
    np.testing.assert_allclose(desk.extra(order, 2, layer), expected, atol=1e-6)


def test_a_ground_truth_is_scored_drawn_and_followed_by_the_thresholds(desk, uploads, tmp_path):
    events, order = SeriesEvents(desk), Request(uploads, "unet")
    masks = desk.result(order).masks
    tifffile.imwrite(tmp_path / "truth.tif", masks.astype("uint8"), photometric="minisblack")
    shown = events.truth([str(tmp_path / "truth.tif")], 2, order, SETTINGS)
    assert "<dd>1.000" in shown["scores"]
    assert ("Errors", "errors") in shown["layer"].choices
    assert shown["order"] == order, "what was examined is found again"
    errors = events.slice(2, shown["order"], replace(SETTINGS, layer="errors"))
    assert "Green: agreed" in errors["legend"]
    other = events.threshold(2, shown["order"], replace(SETTINGS, gate=1.0))
    assert "<dd>1.000" not in other["scores"]
    gone = events.truth(None, 2, shown["order"], replace(SETTINGS, layer="errors"))
    assert gone["scores"] == ""
    assert gone["layer"].value == "fill"


def test_a_ground_truth_of_another_size_is_refused_and_the_result_stays(desk, uploads, tmp_path):
    tifffile.imwrite(tmp_path / "truth.tif", np.ones((2, 39, 39), "uint8"), photometric="minisblack")
    said = SeriesEvents(desk).truth([str(tmp_path / "truth.tif")], 1, Request(uploads, "unet"), SETTINGS)
    assert "2 × 39 × 39" in said["scores"]
    assert set(said) == {"scores", "truth"}
    assert SeriesEvents(desk).truth(["x"], 1, None, SETTINGS) == {"truth": None}, "nothing is shown yet"


def test_the_api_answers_once_with_a_report_and_an_archive(desk, uploads):
    api = Api(Desk(desk.cascades), desk)
    answers = api.segment_series(list(uploads), "unet", None)
    report, path = next(answers)
    assert report["slices"] == COUNT
    assert Path(path).read_bytes().startswith(b"PK")
    assert list(answers) == []
    assert not Path(path).exists(), "Gradio has its own copy by then"
    with pytest.raises(gr.Error, match="No file was sent"):
        next(api.segment_series([], "unet", None))
