"""The volumes of one patient; and those that are its sequences as one series, on the FLAIR's grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError
from lgg.io.orientation import describe, registered, resample
from lgg.io.sequences import AS_IT_IS, found
from lgg.preprocess import head_mask
from lgg.types import FLAIR, POST, PRE, SEQUENCES, Candidate, Grid, Series

#: The share of the head that a volume must hold.
LEAST_OF_HEAD = 0.5
#: A rest of the head below this share is not worth a note.
ALL_OF_HEAD = 0.995


@dataclass(frozen=True)
class Volumes:
    """All volumes that a patient's sequences may be among, known by their headers and not read yet.

    Attributes:
        candidates: in their order.
        parts: candidate's key → what it is read from.
        read_parts: reads the parts of some channels: a series, and what was done with each, in words.
        kind: what such volumes are called, in the plural.
        places: candidate's key → where its files lie on the disk.
    """

    candidates: tuple[Candidate, ...]
    parts: Mapping[str, Any]
    read_parts: Callable[[Mapping[int, Any], bool], tuple[Series, dict[int, str]]]
    kind: str
    places: Mapping[str, set[Path]]

    def read(
        self, chosen: Mapping[int, Candidate], source: str, register: bool = False, notes: Sequence[str] = ()
    ) -> Series:
        """Read the volumes that were chosen.

        Args:
            chosen: channel → its candidate; FLAIR is among them.
            source: what the series is called.
            register: whether T1 volumes are aligned with FLAIR by what is seen in them.
            notes: on files that were left out.

        Raises:
            SliceError: a file is damaged; it is named.
            SeriesError: a volume is none, cannot be brought onto the FLAIR's grid, or there is too much.
        """
        parts = {channel: self.parts[candidate.key] for channel, candidate in chosen.items()}
        series, done = self.read_parts(parts, register)
        check_content(series.pixels, chosen[FLAIR].label)
        if left_out := len(self.candidates) - len(chosen):
            notes = (f"Further {self.kind} were left out: {left_out}.", *notes)
        return replace(
            series,
            source=source,
            chosen={channel: candidate.key for channel, candidate in chosen.items()},
            found=found(self.candidates, chosen, done),
            notes=(*notes, *series.notes),
        )


@dataclass(frozen=True)
class Volume:
    """The voxels of one sequence.

    Attributes:
        values: float32, in its source's order of axes.
        grid: where they lie.
        on_flair: whether they are the FLAIR's own voxels, so that nothing has to be resampled.
        moved: what was done to align them with the FLAIR, before "resampled"; or "".
    """

    values: NDArray[np.float32]
    grid: Grid
    on_flair: bool
    moved: str = ""


def combine(volumes: Mapping[int, Volume], register: bool) -> tuple[Series, dict[int, str]]:
    """Bring all sequences onto the FLAIR's grid; FLAIR stands where one is missing.

    FLAIR itself is never resampled. What another volume does not cover is filled with FLAIR at that volume's
    brightness, so that its z-scores there are the FLAIR's, as they are where a sequence is missing.

    Args:
        volumes: channel → its volume.
        register: whether the others are aligned with FLAIR by what is seen in them.

    Returns:
        axial slices of the FLAIR, with a note on each volume that was resampled; and what was done with each
        channel's volume, in words.

    Raises:
        SeriesError: a volume holds too little of the head.
    """
    onto = volumes[FLAIR].grid
    flair = onto.to_axial(volumes[FLAIR].values)
    pixels = np.empty((*flair.shape, 3), np.float32)
    pixels[:] = flair[..., None]
    done, notes = {FLAIR: AS_IT_IS}, list[str]()
    others = {channel: volumes[channel] for channel in (PRE, POST) if channel in volumes}
    if register:
        others = {channel: _aligned(volume, flair, onto) for channel, volume in others.items()}
    head: NDArray[np.bool_] | None = None
    for channel, volume in others.items():
        if volume.on_flair:
            pixels[..., channel], done[channel] = onto.to_axial(volume.values), AS_IT_IS
            continue
        if head is None:  # only where it is needed: to find it takes longer than reading
            head = head_mask(flair)
            head = head if head.any() else np.ones(flair.shape, bool)
        pixels[..., channel], done[channel] = _onto(flair, onto, head, volume, channel)
        notes.append(f"The {SEQUENCES[channel]} ({describe(volume.grid)}) was {done[channel]}.")
    series = replace(Series.from_pixels(pixels), grid=onto, flair_only=len(volumes) == 1, notes=tuple(notes))
    return series, done


def _aligned(volume: Volume, flair: NDArray[np.float32], onto: Grid) -> Volume:
    """A volume at the place where the head lies in the FLAIR."""
    motion = registered(volume.values, volume.grid, flair, onto)
    if motion is None:
        return volume
    moved = f"moved by {motion.millimetres:.1f} mm and {motion.degrees:.1f}° to match the FLAIR"
    return replace(volume, grid=motion.grid, on_flair=False, moved=f"{moved} and ")


def _onto(
    flair: NDArray[np.float32], onto: Grid, head: NDArray[np.bool_], volume: Volume, channel: int
) -> tuple[NDArray[np.float32], str]:
    """A volume on the FLAIR's grid, and what was done with it."""
    values, covered = resample(volume.values, volume.grid, onto)
    share = np.count_nonzero(head & covered) / np.count_nonzero(head)
    if share < LEAST_OF_HEAD:
        raise SeriesError(
            f"The {SEQUENCES[channel]} covers {share:.0%} of the head that the FLAIR shows, and half is the "
            "least. Choose a more complete one of the same examination, or read FLAIR alone."
        )
    done = f"{volume.moved}resampled onto the FLAIR's grid"
    if not covered.all():
        values = np.where(covered, values, _matched(flair, values, head & covered))
    if share < ALL_OF_HEAD:
        done += f"; FLAIR stands in for the {1 - share:.0%} of the head that it does not cover"
    return values, done


def _matched(
    flair: NDArray[np.float32], values: NDArray[np.float32], both: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """FLAIR with the mean and spread that another sequence has where both show the head."""
    mean, spread = flair[both].mean(dtype=np.float64), flair[both].std(dtype=np.float64)
    other, wanted = values[both].mean(dtype=np.float64), values[both].std(dtype=np.float64)
    scale = wanted / spread if spread > 0 else 1.0
    return ((flair - mean) * scale + other).astype(np.float32)


def check_content(pixels: NDArray[np.float32], source: str) -> None:
    """Refuse what no network could use.

    Raises:
        SeriesError: a voxel is not finite, or all of them are equal.
    """
    if not np.isfinite(pixels).all():
        raise SeriesError(
            f"{source}: some voxels are NaN or infinite. Replace them and save the series again."
        )
    if (pixels == pixels[:1, :1, :1]).all():
        pixel, what = ("pixel", "slice") if len(pixels) == 1 else ("voxel", "series")
        raise SeriesError(
            f"{source}: every {pixel} has the same value: there is nothing to see. Choose another {what}."
        )
