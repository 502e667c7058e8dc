"""The service and the handlers of both tabs, without a page around them."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import tifffile

from lgg.app import viewer
from lgg.app.api import Api
from lgg.app.controls import Tab
from lgg.app.series_tab import SeriesHandlers
from lgg.app.service import EXTRA, Correction, Request, Service, assigned, slice_request
from lgg.app.slice_tab import SliceHandlers
from lgg.cascade import BATCH
from lgg.errors import SeriesError, SliceError, WeightsError
from lgg.explain import flip_spread, grad_cam
from lgg.io import AmbiguousSeriesError
from lgg.models import BUILDERS
from lgg.postprocess import corrected
from lgg.preprocess import prepare
from lgg.types import Thresholds
from tests.lgg.test_cascade import Bright, Level, cascade, head_with_lesion
from tests.series_files import affine, archive, nifti, slice_files, slices

COUNT = 2 * BATCH + 3
CONTROLS = {"layer": "fill", "channel": 1, "threshold": 0.5, "gate": 0.5, "opacity": 0.35, "slice": 1}
VISITOR = SimpleNamespace(session_hash="visitor", query_params={})


@pytest.fixture
def uploads(tmp_path):
    """A file a slice; every other pair is too dim for the gate."""
    pixels = head_with_lesion(60, 44)[0].pixels
    series = np.stack([pixels * (1 if number % 4 < 2 else 0.2) for number in range(COUNT)]) / 400 * 255
    for name, data in slice_files(series.astype(np.uint8)).items():
        (tmp_path / name).write_bytes(data)
    return tuple(sorted(str(path) for path in tmp_path.iterdir()))


@pytest.fixture
def service():
    return Service({"unet": cascade(Level(0.5), Bright())})


def seen(service):
    return service.cascades["unet"].engine.network.seen


def start(service, files, handlers=None, **values):
    """All that the button says."""
    asked = {"files": files, "architecture": "unet", "asked": None, "pre": "", "flair": "", "post": ""}
    handlers = handlers or SeriesHandlers(service)
    return handlers.start({**CONTROLS, **asked, "visitor": VISITOR, **values})


def controls(request, **values):
    return {**CONTROLS, "current": request, **values}


def test_a_lone_slice_is_a_series_of_one_by_its_own_statistics_and_thresholds(uploads):
    made = cascade(Level(0.5), Bright())
    made.series_thresholds = Thresholds(mask=0.9, gate=0.8)
    service = Service({"unet": made})
    request = slice_request(uploads[0], "unet")
    result = service.result(request)
    (slice_,), (prediction,) = result.series.slices(), result.predictions
    expected = made.predict(slice_, always_segment=True)
    assert slice_.source == Path(uploads[0]).name
    assert prediction.gate_probability == expected.gate_probability
    assert prediction.thresholds == made.thresholds != made.series_thresholds
    np.testing.assert_array_equal(prediction.probability, expected.probability)
    (in_volume,) = service.result(Request(uploads[:1], "unet")).predictions
    assert in_volume.thresholds == made.series_thresholds
    with pytest.raises(SliceError, match=f"holds {COUNT} slices"):
        service.result(replace(request, paths=uploads))


def test_batches_are_the_whole_and_lead_to_the_result_which_is_remembered(service, uploads):
    request = Request(uploads, "unet")
    *told, last = service.examine(request)
    batches = [(done, COUNT) for done in (0, BATCH, 2 * BATCH, COUNT)]
    assert [(step.done, step.slices) for step in told] == [(0, 0), *batches]
    assert all(step.result is None for step in told)
    before = seen(service)
    assert service.result(request).predictions is last.result.predictions
    assert seen(service) == before
    whole = service.cascades["unet"].predict(service.series(request), always_segment=True).predictions
    for prediction, expected in zip(last.result.predictions, whole, strict=True):
        assert prediction.gate_probability == pytest.approx(expected.gate_probability, abs=1e-6)
        np.testing.assert_allclose(prediction.probability, expected.probability, atol=1e-5)
        np.testing.assert_array_equal(prediction.mask, expected.mask)
    assert any(prediction.area for prediction in whole)
    assert not all(prediction.passed for prediction in whole)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (Request(("gone.zip",), "unet"), SliceError, "Upload it once more"),
        (slice_request("gone.tif", "unet"), SliceError, "Upload it once more"),
        (Request((), "unet"), SeriesError, "nothing to examine"),
        (Request(("gone.zip",), "../gate"), WeightsError, "no weights"),
    ],
)
def test_what_is_missing_is_missed_in_words(service, tmp_path, request_, error, words):
    request_ = replace(request_, paths=tuple(str(tmp_path / path) for path in request_.paths))
    with pytest.raises(error, match=words) as caught:
        service.result(request_)
    assert str(tmp_path) not in str(caught.value)


def test_a_visitors_choice_becomes_an_assignment():
    assert assigned(["a", "b", ""]) == (("a", "pre"), ("b", "flair"))
    with pytest.raises(SeriesError, match="FLAIR"):
        assigned(["a", "", None])
    with pytest.raises(SeriesError, match="two sequences"):
        assigned(["a", "a", ""])


def test_a_failure_clears_the_last_result_and_says_why(service, tmp_path):
    (tmp_path / "junk.tif").write_bytes(b"no picture" * 50)
    *_, said = start(service, [str(tmp_path / "junk.tif")])
    assert "not an image" in said["said"]
    assert str(tmp_path) not in said["said"]
    assert said["stop"].visible is False
    assert said["current"] is None
    with pytest.warns(UserWarning, match=r"gone\.tif"):  # on a page it is announced
        said = SliceHandlers(service, []).failed(SliceError("gone.tif: this is no picture."))
    assert "gone.tif" in said["said"]
    assert said["body"].visible is False
    assert [said[name] for name in ("picture", "plain", "both", "facts")] == [None, None, None, ""]


def test_an_error_clears_the_tab_but_where_an_event_names_what_it_changes_that_stays():
    def broken(values):
        raise SliceError("gone.tif: upload it once more.")

    with gr.Blocks() as page:
        tab = Tab(lambda error: {"said": str(error), "picture": None})
        tab |= {"moved": gr.Slider(), "said": gr.HTML(), "picture": gr.Image()}
        tab.on(tab["moved"].input, broken, ("moved",))
        tab.on(tab["moved"].input, broken, ("moved",), ("picture",))
    every, named = (event.fn for event in page.fns.values())
    visitor, moved = gr.Request(), {tab["moved"]: 0.5}
    assert every(moved, visitor)[tab["picture"]] is None
    with pytest.warns(UserWarning, match=r"gone\.tif"):
        assert named(moved, visitor) == {tab["picture"]: gr.skip()}


def test_a_visitor_who_cancels_gets_no_more_than_that_and_nothing_is_kept(service, uploads):
    handlers = SeriesHandlers(service)
    steps = start(service, uploads, handlers)
    said = [next(steps)["said"]]
    handlers.stop(SimpleNamespace(session_hash="another"))
    said.append(next(steps)["said"])
    handlers.stop(VISITOR)
    *rest, last = steps
    assert all("progress" in words for words in said)
    assert not rest
    assert "Cancelled" in last["said"]
    assert last["start"].interactive is True
    assert 0 < seen(service) <= BATCH
    assert len(service.results) == 0, "half a series is not a result"
    handlers.stop(VISITOR)  # too late to matter for the next
    *_, last = start(service, uploads, handlers)
    assert last["current"] is not None


def volumes(folder, *names):
    """The paths of a NIfTI file for each name, all on one grid."""
    paths = []
    for name, voxels in zip(names, slices(3, channels=len(names)).T, strict=True):
        paths.append(folder / f"{name}.nii.gz")
        paths[-1].write_bytes(nifti(voxels.astype("int16"), affine(np.eye(3))))
    return tuple(map(str, paths))


def test_sequences_are_asked_for_and_then_used(service, tmp_path):
    *_, asked = start(service, volumes(tmp_path, "a", "b", "<c>"))
    assert all("&lt;c&gt;" in asked[name] and "<c>" not in asked[name] for name in ("said", "volumes"))
    assert asked["flair"].choices == [(f"{name}.nii", f"{name}.nii") for name in ("<c>", "a", "b")]
    assert asked["flair"].value is None
    *_, shown = start(service, asked["asked"][0], asked=asked["asked"], pre="a.nii", flair="b.nii")
    assert shown["current"].assignment == (("a.nii", "pre"), ("b.nii", "flair"))
    *_, lone = start(service, asked["asked"][0], asked=asked["asked"], flair="b.nii")
    assert service.series(lone["current"]).flair_only


def test_volumes_seem_to_be_something_until_they_are_corrected(service, tmp_path):
    paths, handlers = volumes(tmp_path, "FLAIR", "T1", "<b>T1c"), SeriesHandlers(service)
    first, told = handlers.recognise({"files": list(paths)})
    assert (first["asked"], first["volumes"]) == (None, "")
    assert [told[role].value for role in ("pre", "flair", "post")] == ["T1.nii", "FLAIR.nii", "<b>T1c.nii"]
    assert "&lt;b&gt;" in told["volumes"]
    assert "<b>" not in told["volumes"]
    choice = {"asked": told["asked"], "pre": "", "flair": "T1.nii", "post": None}
    assert "another FLAIR was taken" in handlers.reassign(choice)["volumes"]
    assert handlers.reassign({**choice, "asked": None}) == {}
    *_, said = start(service, paths, **choice)
    assert "Several volumes may be the post-contrast T1" in said["said"]
    *_, shown = start(service, paths, **{**choice, "post": "FLAIR.nii"})
    assert dict(service.series(shown["current"]).chosen) == {1: "T1.nii", 2: "FLAIR.nii"}
    assert "<summary>3 volumes" in shown["facts"]
    *_, shown = start(service, paths[:2], **choice)
    assert shown["current"].assignment == (), "the choice was made for other files"


def test_pictures_and_a_lone_flair_leave_nothing_to_choose_from(service, uploads, tmp_path):
    handlers = SeriesHandlers(service)
    for paths in (uploads, volumes(tmp_path, "scan"), (), (*uploads, str(tmp_path / "gone.dcm"))):
        assert all(not any(step.values()) for step in handlers.recognise({"files": list(paths)}))


def test_an_archive_is_unpacked_once(service, tmp_path, monkeypatch):
    unpacked, infolist = [], zipfile.ZipFile.infolist
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: unpacked.append(self) or infolist(self))
    files = {**slice_files(slices(3)), "notes.txt": b"text"}
    (tmp_path / "scan.zip").write_bytes(archive(files))
    *_, seem = SeriesHandlers(service).recognise({"files": [str(tmp_path / "scan.zip")]})
    assert seem["asked"] is None, "pictures leave nothing to choose from"
    *_, shown = start(service, [str(tmp_path / "scan.zip")])
    series = service.series(shown["current"])
    assert (series.source, len(series), len(unpacked)) == ("scan.zip", 3, 1)
    assert series.notes == ("Files in the archive that are no images were left out: 1.",)


def test_a_question_comes_without_options_of_the_command_line_and_uploads_are_counted(
    service, tmp_path, monkeypatch
):
    paths = volumes(tmp_path, "a", "b")
    with pytest.raises(AmbiguousSeriesError, match=r"“a\.nii”, “b\.nii”") as caught:
        service.result(Request(paths, "unet"))
    assert "--flair" not in str(caught.value)
    monkeypatch.setattr("lgg.app.service.MAX_FILES", 1)
    with pytest.raises(SliceError, match="at most 1"):
        service.recognise(paths)


def test_both_thresholds_decide_all_slices_and_no_network_runs(service, uploads):
    handlers, request = SeriesHandlers(service), Request(uploads, "unet")
    result = service.result(request)
    assert 0 < len(result.suspected) < COUNT
    before = seen(service)
    everything = handlers.decide(controls(request, gate=0.0))
    nothing = handlers.decide(controls(request, gate=1.0))
    assert f"the gate passed {COUNT}" in everything["facts"]
    assert "No glioma found" in nothing["said"]
    assert seen(service) == before
    kept = len(service.results)
    assert service.decided(request, 0.5, 1.0).voxels == 0
    assert len(service.results) == kept, "what was decided once is remembered"
    own = result.thresholds
    assert service.decided(request, own.mask, own.gate).areas == result.areas


@pytest.mark.parametrize("layer", EXTRA)
@pytest.mark.parametrize("statistics", ["slice", "volume"])
def test_a_slice_is_explained_by_its_results_statistics_and_once(uploads, layer, statistics):
    service = Service({"unet": cascade(BUILDERS["gate"]().eval(), Bright())})
    number = 2 if statistics == "volume" else 1
    request = Request(uploads if statistics == "volume" else uploads[:1], "unet", statistics=statistics)
    drawn = service.extra(request, number, layer)
    before = seen(service)
    assert service.extra(request, number, layer) is drawn
    assert seen(service) == before
    made = service.cascades["unet"]
    part = prepare(service.series(request).pixels, statistics)[number - 1 : number]
    expected = grad_cam(made, part)[0] if layer == "why" else flip_spread(made, part)[0]
    np.testing.assert_allclose(drawn, expected, atol=1e-6)


@pytest.mark.parametrize("statistics", ["slice", "volume"])
def test_a_ground_truth_is_scored_drawn_and_followed_by_the_thresholds(
    service, uploads, tmp_path, statistics
):
    if statistics == "slice":
        handlers, request = SliceHandlers(service, []), slice_request(uploads[0], "unet")
    else:
        handlers, request = SeriesHandlers(service), Request(uploads, "unet")
    masks = service.result(request).masks
    assert masks[0].any()
    tifffile.imwrite(tmp_path / "truth.tif", masks.squeeze().astype("uint8"), photometric="minisblack")

    def values(request, **changes):
        return controls(request, **{"architecture": "unet", "before_after": False, **changes})

    path = str(tmp_path / "truth.tif")
    shown = handlers.truth(values(request, truth=path if statistics == "slice" else [path]))
    assert "<dd>1.000" in shown["scores"]
    assert ("Errors", "errors") in shown["layer"].choices
    assert shown["current"] == request, "what was examined is found again"
    errors = handlers.redraw(values(shown["current"], layer="errors"))
    assert "Green: agreed" in errors["legend"]
    other = handlers.decide(values(shown["current"], gate=1.0))
    assert "<dd>1.000" not in other["scores"]
    gone = handlers.truth(values(shown["current"], layer="errors", truth=None))
    assert gone["scores"] == ""
    assert gone["layer"].value == "fill"
    if statistics == "volume":  # the viewer shows it, too
        assert shown["viewer"]["truth"] == viewer.packed_mask(masks)
        assert gone["viewer"]["truth"] is None


def test_a_ground_truth_of_another_size_is_refused_and_the_result_stays(service, uploads, tmp_path):
    tifffile.imwrite(tmp_path / "truth.tif", np.ones((2, 39, 39), "uint8"), photometric="minisblack")
    handlers = SeriesHandlers(service)
    said = handlers.truth(controls(Request(uploads, "unet"), truth=[str(tmp_path / "truth.tif")]))
    assert "2 × 39 × 39" in said["scores"]
    assert set(said) == {"scores", "truth"}
    assert handlers.truth(controls(None, truth=["x"])) == {"truth": None}, "nothing is shown yet"


def drawn(service, request, masks):
    """What the viewer sends of masks that a visitor drew."""
    return viewer.mask_value(request.study, corrected(service.result(request), masks))


@pytest.fixture
def truth(service, uploads, tmp_path):
    """A request with a ground truth, and the truth's masks: a column of voxels through all slices."""
    masks = np.zeros(service.result(Request(uploads, "unet")).masks.shape, bool)
    masks[:, 20:24, 10:17] = True
    tifffile.imwrite(tmp_path / "truth.tif", masks.astype("uint8"), photometric="minisblack")
    return Request(uploads, "unet", truth=(str(tmp_path / "truth.tif"),)), masks


def test_a_corrected_mask_is_scored_and_exported_as_such_and_is_nobody_elses(service, truth):
    request, masks = truth
    handlers, before = SeriesHandlers(service), seen(service)
    said = handlers.correct(controls(request, picked=drawn(service, request, masks), slice=3))
    assert "corrected by hand" in said["facts"] + said["legend"]
    assert "<dd>1.000" in said["scores"]
    shown = said["current"]
    assert shown == request, "what was examined is found again"
    packed = handlers.archive(controls(shown))
    with zipfile.ZipFile(next(packed)["save"].value["path"]) as taken:
        assert json.loads(taken.read("statistics.json"))["voxels"] == masks.sum()
    assert seen(service) == before, "no network runs"
    assert not service.decided(request, 0.5, 0.5).corrected
    assert service.result(request).voxels != masks.sum()


def test_a_threshold_moved_after_a_correction_asks_first(service, truth):
    request, masks = truth
    handlers = SeriesHandlers(service)
    moved = {"threshold": 0.7, "gate": 0.0}
    shown = handlers.correct(controls(request, picked=drawn(service, request, masks), gate=0.4))["current"]
    asked = handlers.decide(controls(shown, **moved))
    assert set(asked) == {"ask"}
    assert asked["ask"].visible
    assert service.decided(shown, 0.7, 0.0).voxels == masks.sum()
    assert service.decided(shown, 0.7, 0.0).thresholds.gate == 0.4, "by which it began"
    kept = handlers.keep(controls(shown, **moved))
    assert (kept["threshold"], kept["gate"], kept["ask"].visible) == (0.5, 0.4, False)
    again = handlers.correct(controls(shown, picked=drawn(service, request, ~masks), **moved))["current"]
    assert (again.correction.mask, again.correction.gate) == (0.5, 0.4)
    gone = handlers.discard(controls(again, **moved))
    assert "Corrected" not in gone["said"]
    assert not gone["ask"].visible
    assert f"the gate passed {COUNT}" in gone["facts"]
    assert gone["current"].correction is None
    assert gone["current"].truth == request.truth


def test_a_correction_that_does_not_fit_leaves_the_result_and_an_examination_drops_one(service, truth):
    request, masks = truth
    handlers, sent = SeriesHandlers(service), drawn(service, request, masks)
    other = replace(request, paths=request.paths[1:])
    for current, picked in ((request, {**sent, "mask": "no"}), (other, sent), (None, sent)):
        assert handlers.correct(controls(current, picked=picked)) == {}
    *_, last = start(
        service,
        request.paths,
        current=replace(request, correction=Correction(viewer.packed_mask(masks), 1, 1)),
    )
    assert last["current"].correction is None
    assert not last["viewer"]["corrected"]


def test_the_api_leaves_no_archive_behind(service, uploads):
    answers = Api(service).segment_series(list(uploads), "unet", None)
    _, path, _ = next(answers)
    assert Path(path).read_bytes().startswith(b"PK")
    assert list(answers) == []
    assert not Path(path).exists(), "Gradio has its own copy by then"
    with pytest.raises(gr.Error, match="No file was sent"):
        next(Api(service).segment_series([], "unet", None))
