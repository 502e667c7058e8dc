"""From whatever a visitor has of one patient to a typed series, and back to the source's own grid.

Slice files, a ZIP archive of them, a TIFF of many pages, DICOM series, NIfTI volumes. Everything is read in
memory, within limits that each have their own message; file names are shown without their folders.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lgg.errors import SeriesError, SliceError
from lgg.reading.dicom_header import is_dicom
from lgg.reading.kinds import kind_of
from lgg.reading.source import Source, bare_name
from lgg.series.archive import File, unpack
from lgg.series.dicom import read_dicom_series
from lgg.series.grid import Grid
from lgg.series.nifti import is_nifti, read_nifti
from lgg.series.pictures import read_pictures
from lgg.series.sequences import AmbiguousSeriesError
from lgg.series.series import Candidate, Series
from lgg.series.truth import read_truth
from lgg.slice import Slice

__all__ = ["AmbiguousSeriesError", "Candidate", "Series", "read_series", "read_truth", "series_of"]

NIFTI, DICOM, PICTURES = "NIfTI", "DICOM", "pictures"
Reader = Callable[[Sequence[File], str, Mapping[str, str] | None], Series]


def read_series(
    uploads: Sequence[Source],
    names: Sequence[str] | None = None,
    assignment: Mapping[str, str] | None = None,
) -> Series:
    """Read one patient's series.

    Args:
        uploads: paths, bytes or binary streams: slice files in any order (they are sorted by name, `_2`
            before `_10`), a ZIP archive of slices, a TIFF with a page a slice, DICOM files, or NIfTI
            volumes, one (FLAIR) or one for each sequence.
        names: what messages call the uploads, in the same order; by default their own names.
        assignment: which volume is which sequence, `Candidate.key` → `pre`, `flair` or `post`; by default
            guessed from DICOM's series descriptions or the NIfTI files' names.

    Raises:
        AmbiguousSeriesError: several volumes, and nobody knows which is which; ask with its `candidates`.
        SeriesError, SliceError: whatever else is wrong; the message names the file and says what to do.
    """
    files, left_out = _readable(unpack(uploads, names))
    kinds = {_kind(file.data) for file in files}
    if len(kinds) > 1:
        raise SeriesError(f"The files are of several kinds ({', '.join(sorted(kinds))}). Upload one kind.")
    source = bare_name(uploads[0], names[0] if names else None)
    if len(uploads) > 1:
        source = f"{len(uploads)} files"
    read: dict[str, Reader] = {
        NIFTI: read_nifti,
        DICOM: read_dicom_series,
        PICTURES: lambda files, source, _: read_pictures(files, source),
    }
    series = read[kinds.pop()](files, source, assignment)
    if not left_out:
        return series
    note = f"Files in the archive that are no images were left out: {len(left_out)}."
    return replace(series, notes=(note, *series.notes))


def series_of(one: Slice) -> Series:
    """A lone slice as a series of one."""
    return Series(
        one.pixels[None],
        one.source,
        (one.source,),
        Grid((1, *one.size)),
        flair_only=one.flair_only,
        spacing=one.spacing,
    )


def _readable(files: Sequence[File]) -> tuple[list[File], list[File]]:
    """The files that can be read, and those in an archive that are no images (a text, a viewer)."""
    readable, left_out = [], []
    for file in files:
        try:
            _kind(file.data)
            readable.append(file)
        except SliceError as error:
            if not file.packed:
                raise SliceError(f"{file.name}: {error}") from None
            left_out.append(file)
    if not readable:
        raise SeriesError("The archive holds no images that can be read. Pack the slices themselves.")
    return readable, left_out


def _kind(data: bytes) -> str:
    if is_nifti(data):
        return NIFTI
    if is_dicom(data):
        return DICOM
    kind_of(data)
    return PICTURES
