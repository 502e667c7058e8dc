"""All that the page and the API say about a whole series, in words, numbers and HTML."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from lgg.cascade import Cascade
from lgg.gating import FEWEST
from lgg.plausible import implausible_series
from lgg.report import Verdict, device_name, facts_list, millions, model, percent, ran
from lgg.slice import SEQUENCES
from lgg.volume import SeriesResult

CONFIRMED = " that a neighbouring slice confirms"
LONE = "; what no neighbouring slice confirms is left out"
NO_VOLUME = "no ml: the upload does not state the distances of its pixels and slices"


def verdict(result: SeriesResult) -> Verdict:
    """The result in words: something is outlined, or the gate suspects in vain, or it passes no slice."""
    slices = _slices(len(result))
    if result.voxels:
        found, ml = result.with_tumour, result.volume_ml
        where = f"slice {found[0]}" if len(found) == 1 else f"{len(found)} of {slices}, {_ranges(found)}"
        size = "" if ml is None else f": {volume(ml)} in all"
        largest = "" if len(found) == 1 else f". The largest outline is in slice {result.most_telling}"
        return Verdict("Glioma likely", f"Outlined in {where}{size}{largest}.", "likely")
    if result.suspected:
        detail = (
            f"The gate suspects a glioma in {len(result.suspected)} of {slices}, but the segmenter outlines "
            f"nothing{CONFIRMED if len(result) >= FEWEST else ''}. Look at the slices yourself."
        )
        return Verdict("Unclear", detail, "unclear")
    limit = percent(result.thresholds.gate)
    return Verdict(
        "No glioma found", f"The gate stays below its threshold of {limit} in all of {slices}.", "none"
    )


def volume(ml: float) -> str:
    """A volume for people: `34.2 ml`, with more digits where it is small."""
    return f"{ml:,.0f}\u00a0ml" if ml >= 100 else f"{ml:.1f}\u00a0ml" if ml >= 1 else f"{ml:.2f}\u00a0ml"


def verdict_html(result: SeriesResult) -> str:
    """The verdict, and what reading noted about the upload."""
    said = verdict(result)
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.series.notes)
    return (
        f'<section class="verdict {said.tone}" role="status">'
        f'<p class="source">{escape(result.series.source)}</p>'
        f"<h2>{escape(said.headline)}</h2><p>{escape(said.detail)}</p>"
        + (f'<ul class="notes" aria-label="Notes on the upload">{notes}</ul>' if notes else "")
        + "</section>"
    )


def facts_html(result: SeriesResult, cascade: Cascade) -> str:
    """What was measured, in what, by what and how fast, as a description list."""
    series, ml = result.series, result.volume_ml
    height, width = series.pixels.shape[1:3]
    voxels = f"{result.voxels:,}\u00a0voxels"
    sequences = "one channel, taken as FLAIR" if series.flair_only else ", ".join(SEQUENCES)
    seconds = milliseconds(result) / 1000
    rows = (
        ("Outlined volume", voxels, NO_VOLUME) if ml is None else ("Outlined volume", volume(ml), voxels),
        (
            "Slices with an outline",
            f"{len(result.with_tumour)} of {len(result)}",
            f"the gate passed {len(result.suspected)}" + (LONE if len(result) >= FEWEST else ""),
        ),
        ("Series", f"{len(result)} × {width} × {height}\u00a0px", f"{_distances(result)}{sequences}"),
        (
            "Architecture",
            model(cascade),
            f"{millions(cascade.config.parameters)}; {seconds:,.1f}\u00a0s on {device_name(cascade)}",
        ),
    )
    return facts_list(rows)


def progress_html(done: int, slices: int, seconds: float) -> str:
    """How far the examination is: `24 of 100 slices, about 12 s to go`.

    Args:
        done: slices that are examined; 0 while the series is being read.
        slices: in all; 0 while that is unknown.
        seconds: since the first batch began.
    """
    if slices == 0:
        words = "Reading the series …"
    elif done == 0:
        words = f"0 of {_slices(slices)}: measuring the whole volume …"
    else:
        left = seconds / done * (slices - done)
        words = f"{done} of {_slices(slices)}, about {_time(left)} to go"
    return (
        f'<div class="progress" role="status"><p>{words}</p>'
        f'<progress max="{max(slices, 1)}" value="{done}" aria-label="Slices examined"></progress></div>'
    )


def as_json(result: SeriesResult, cascade: Cascade) -> dict[str, Any]:
    """The result as plain values, for the API; what is in mm or ml is None where no distances are known."""
    said, series = verdict(result), result.series
    return {
        "verdict": said.headline,
        "detail": said.detail.replace("\u00a0", " "),
        "slices": len(result),
        "slices_with_tumour": list(result.with_tumour),
        "largest_slice": result.most_telling if result.voxels else None,
        "voxels": result.voxels,
        "volume_ml": result.volume_ml,
        "gate_threshold": result.thresholds.gate,
        "mask_threshold": result.thresholds.mask,
        "per_slice": [
            {
                "slice": number,
                "gate_probability": one.gate_probability,
                "gate_passed": one.passed,
                "area_pixels": one.area,
                "area_mm2": one.area_mm2,
            }
            for number, one in enumerate(result.predictions, start=1)
        ],
        **ran(cascade),
        "milliseconds": milliseconds(result),
        "source": series.source,
        "height": series.pixels.shape[1],
        "width": series.pixels.shape[2],
        "flair_only": series.flair_only,
        "spacing_mm": None if series.spacing is None else list(series.spacing),
        "slice_distance_mm": series.slice_distance,
        "notes": list(series.notes),
        "warnings": list(warnings(result)),
    }


def warnings(result: SeriesResult) -> tuple[str, ...]:
    """Why the networks were not made for this series, a sentence each."""
    return implausible_series(result.series.slices(), [one.head for one in result.predictions])


def milliseconds(result: SeriesResult) -> float:
    """What the networks took for the whole series."""
    return sum(sum(one.milliseconds.values()) for one in result.predictions)


def _distances(result: SeriesResult) -> str:
    spacing, step = result.series.spacing, result.series.slice_distance
    if spacing is None:
        return ""
    apart = "" if step is None else f", slices {step:.3g}\u00a0mm apart"
    return f"{spacing[1]:.3g} × {spacing[0]:.3g}\u00a0mm{apart}; "


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"


def _ranges(numbers: Sequence[int]) -> str:
    """`31 to 53`, or `3, 5 and 9 to 12` where slices between them are empty; at most three runs are told."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    if len(runs) > 3:
        return f"between {numbers[0]} and {numbers[-1]}"
    words = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _time(seconds: float) -> str:
    """Rounded up, so that nobody waits longer than was said."""
    return f"{math.ceil(seconds)}\u00a0s" if seconds < 90 else f"{math.ceil(seconds / 60)}\u00a0min"
