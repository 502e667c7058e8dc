"""From files to a typed slice or series: TIFF, PNG, JPEG, DICOM and NIfTI, told apart by their first bytes.

Uploads are hostile until proven otherwise. So tifffile, Pillow, pydicom, nibabel and imagecodecs, which read
them, are fenced in: a declared size is checked before memory is reserved for it, metadata is bounded or taken
out first, and data that is missing is an error. Everything is read in memory, within limits that each have
their own message; file names are shown without their folders.

Transparency is ignored throughout: it says where a program would show its background, not what the scanner
measured, and blending it in would change intensities.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError, SliceError
from lgg.io.archive import File, Source, bare_name, load_bytes, unpack
from lgg.io.combine import check_content
from lgg.io.dicom import decode_dicom, dicom_volumes, is_dicom
from lgg.io.images import Picture, decode_jpeg, decode_png, decode_stack, decode_tiff
from lgg.io.limits import check_volume, guarded, named
from lgg.io.nifti import is_nifti, nifti_volumes
from lgg.io.sequences import AmbiguousSeriesError, choose
from lgg.types import FLAIR, Grid, Series, Slice

__all__ = ["AmbiguousSeriesError", "as_slice", "read_mask", "read_series", "read_series_mask", "read_slice"]

TIFF, PNG, JPEG, DICOM, NIFTI, PICTURES = "TIFF", "PNG", "JPEG", "DICOM", "NIfTI", "pictures"
DECODERS = {TIFF: decode_tiff, PNG: decode_png, JPEG: decode_jpeg, DICOM: decode_dicom}

#: First bytes → format. BigTIFF has a plus sign.
MAGIC = dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TIFF)
MAGIC |= {b"\x89PNG\r\n\x1a\n": PNG, b"\xff\xd8\xff": JPEG}

ONE_SLICE = "Give one slice, not a series."

#: How other formats begin: (offset, bytes there, what it is). The first match counts.
FOREIGN = (
    (344, b"n+1\0", "a NIfTI volume"),
    (4, b"n+2\0", "a NIfTI volume"),
    (0, b"\x5c\x01\0\0", "an Analyze volume's header"),
    (0, b"\0\0\x01\x5c", "an Analyze volume's header"),
    (0, b"\x1f\x8b", "a gzip archive (often a NIfTI volume)"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"ObjectType", "a MetaImage header"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (MINC or MATLAB, perhaps)"),
    (0, b"MATLAB 5.0", "a MATLAB file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftyp", "a photo (HEIC, AVIF) or a video"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"PK", "a ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a TAR archive"),
    (0, b"%PDF", "a PDF"),
    (0, b"<", "text (a web page, SVG or XML)"),
)


def read_slice(source: Source, name: str | None = None, *, allow_constant: bool = False) -> Slice:
    """Read one axial MRI slice from a TIFF, PNG, JPEG or DICOM file.

    Three channels are taken as pre-contrast T1, FLAIR and post-contrast T1, in this order. One channel, and
    three that are equal in every pixel (a grey picture saved as RGB), are taken as FLAIR: `flair_only`.
    A fourth channel, and a second beside grey, must be transparency and is ignored. Pixel values stay the
    file's own (in DICOM the scanner's, after its slope and intercept and before any window), except that
    "white is zero" is inverted and colour tables are looked up. Spacing is filled in only where the file
    states one that can be believed (rules in `lgg.io.limits`; in DICOM, PixelSpacing).

    Args:
        source: a path, the file's bytes, or a binary stream, read from where it stands and left open.
        name: what messages and `Slice.source` call the file; its bare name, or "slice", by default.
        allow_constant: accept a picture of one value, as the air above the head is within a series.

    Returns:
        A `Slice`: pixels (H, W, 3) float32, finite, not all equal, 32 to 4096 pixels a side.

    Raises:
        SliceError: the file cannot be read or is no slice; the message names the file and says what to do.
    """
    name = bare_name(source, name)
    with named(name):
        picture = _decode(load_bytes(source, ONE_SLICE))
        if not allow_constant and (picture.pixels == picture.pixels[:1, :1]).all():
            raise SliceError("every pixel has the same value: there is nothing to see. Choose another slice.")
    return as_slice(picture, name)


def read_series(
    uploads: Sequence[Source],
    names: Sequence[str] | None = None,
    assignment: Mapping[str, str] | None = None,
) -> Series:
    """Read one patient's series; T1 volumes on grids of their own are resampled onto the FLAIR's.

    Args:
        uploads: paths, bytes or binary streams: slice files in any order (they are sorted by name, `_2`
            before `_10`), a ZIP archive of slices, a TIFF with a page a slice, DICOM files, enhanced ones
            too, or NIfTI volumes, one (FLAIR) or one for each sequence.
        names: what messages call the uploads, in the same order; by default their own names.
        assignment: which volume is which sequence, `Candidate.key` → `pre`, `flair` or `post`; by default
            recognised by how DICOM series were taken, by their descriptions, or by the NIfTI files' names.

    Raises:
        AmbiguousSeriesError: several volumes, and nobody knows which is which; ask with its `candidates`.
        SeriesError, SliceError: whatever else is wrong; the message names the file and says what to do.
    """
    files = unpack(uploads, names)
    first = bare_name(uploads[0], names[0] if names else None)
    return read_files(files, first if len(uploads) == 1 else f"{len(uploads)} files", assignment)


def read_files(unpacked: Sequence[File], source: str, assignment: Mapping[str, str] | None = None) -> Series:
    """Read one patient's series from files that are unpacked; `source`: what to call all of them together."""
    kinds: dict[str, list[File]] = defaultdict(list)
    for file in unpacked:
        try:
            kinds[kind_of_series(file.whole())].append(file)
        except SliceError as error:
            if not file.packed:
                raise SliceError(f"{file.name}: {error}") from None
    if not kinds:
        raise SeriesError("The archive holds no images that can be read. Pack the slices themselves.")
    if len(kinds) > 1:
        raise SeriesError(f"The files are of several kinds ({', '.join(sorted(kinds))}). Give one kind.")
    ((kind, files),) = kinds.items()
    left_out = len(unpacked) - len(files)  # in an archive: a text, a viewer
    notes = [f"Files in the archive that are no images were left out: {left_out}."] if left_out else []
    if kind == PICTURES:
        return _read_pictures(files, source, notes)
    if kind == NIFTI:
        volumes = nifti_volumes(files)
    else:
        volumes, without = dicom_volumes(files, strict=True)
        notes += [f"DICOM files without a picture were left out: {len(without)}."] if without else []
    return volumes.read(choose(volumes.candidates, assignment), source, notes=notes)


def read_mask(source: Source, name: str | None = None) -> NDArray[np.bool_]:
    """Read a ground-truth mask: (H, W) bool, True where the file's value is above zero.

    One channel, three equal ones, or a colour table (where black is background). Empty masks are valid.

    Args:
        source, name: as for `read_slice`.

    Raises:
        SliceError: as for `read_slice`; also for a JPEG, whose compression blurs the outline into values
            above zero, and for a coloured picture.
    """
    name = bare_name(source, name)
    with named(name):
        return _as_mask(_decode(load_bytes(source, ONE_SLICE)))


def read_series_mask(
    uploads: Sequence[Source], series: Series, names: Sequence[str] | None = None
) -> NDArray[np.bool_]:
    """Read the mask of each slice of a series; whatever is not black is tumour.

    Args:
        uploads: a NIfTI volume, a TIFF with a page a slice, mask files in the natural order of their names,
            or an archive of them. Where some files are called `…_mask` and others are not, only those count.
        series: what they were drawn on; pictures of masks come in the order of its axial slices.
        names: what messages call the uploads, in the same order; by default their own names.

    Returns:
        (N, H, W) bool, as the series' pixels lie.

    Raises:
        SliceError, SeriesError: they cannot be read as masks, or are not of the series' size.
    """
    files = unpack(uploads, names)
    files = [file for file in files if _is_mask(file)] or files
    masks = _read_masks(files)
    if masks.shape != series.pixels.shape[:3]:
        (count, height, width), (slices, rows, columns) = masks.shape, series.pixels.shape[:3]
        raise SeriesError(
            f"The ground truth is {count} × {width} × {height} and the series {slices} × {columns} × {rows} "
            "(slices, width, height). Give the masks that were drawn on this series."
        )
    return masks


def as_slice(picture: Picture, name: str) -> Slice:
    """A picture as a slice: one channel, or three equal ones, is FLAIR in all three."""
    grey = _is_grey(picture.pixels)
    pixels = np.repeat(picture.pixels[..., :1], 3, axis=2) if grey else picture.pixels
    return Slice(np.ascontiguousarray(pixels), name, flair_only=grey, spacing=picture.spacing)


def kind_of(data: bytes) -> str:
    """Name the format of a file's bytes: `TIFF`, `PNG`, `JPEG` or `DICOM`.

    Raises:
        SliceError: it is empty, another format (named), or nothing known.
    """
    if not data:
        raise SliceError("the file is empty. Export the slice once more, as TIFF, PNG or JPEG.")
    if is_dicom(data):  # asked first: some writers put the beginning of a TIFF in front of DICOM's mark
        return DICOM
    for magic, kind in MAGIC.items():
        if data.startswith(magic):
            return kind
    for offset, magic, what in FOREIGN:
        if data.startswith(magic, offset):
            raise SliceError(f"this is {what}, which is not read here. Give one axial slice as TIFF or PNG.")
    raise SliceError("this is not an image that can be read. Give TIFF, PNG, JPEG or DICOM.")


def kind_of_series(start: bytes) -> str:
    """Name what reads files that begin so: `DICOM`, `NIfTI`, or `pictures`.

    Raises:
        SliceError: as for `kind_of`.
    """
    if is_nifti(start):
        return NIFTI
    return DICOM if kind_of(start) == DICOM else PICTURES


def _decode(data: bytes) -> Picture:
    return guarded(DECODERS[kind_of(data)], data)


def _is_grey(pixels: NDArray[np.float32]) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _as_mask(picture: Picture) -> NDArray[np.bool_]:
    """(H, W) bool, where a picture is not black.

    Raises:
        SliceError: as for `read_mask`.
    """
    if picture.lossy:
        raise SliceError("a JPEG cannot hold a mask, its edges are blurred. Save the mask as PNG or TIFF.")
    if not picture.palette and not _is_grey(picture.pixels):
        raise SliceError("a mask has one channel, and this picture is coloured. Save it as black and white.")
    return np.any(picture.pixels > 0, axis=2)


def _read_pictures(files: Sequence[File], source: str, notes: list[str]) -> Series:
    """Read slices that are TIFF, PNG or JPEG files, in the order given; or one TIFF with a page a slice.

    Ground-truth masks beside the slices, `…_mask`, are left out.

    Raises:
        SliceError, SeriesError: as for `_pictures`.
    """
    kept = [file for file in files if not _is_mask(file)] or files
    if len(kept) < len(files):
        notes = [*notes, f"Files whose names end with “_mask” were left out: {len(files) - len(kept)}."]
    slices = [as_slice(picture, name) for picture, name in _pictures(kept)]
    pixels = np.stack([slice_.pixels for slice_ in slices])
    check_content(pixels, source)
    spacings = {slice_.spacing for slice_ in slices}
    return Series(
        pixels,
        source,
        tuple(slice_.source for slice_ in slices),
        Grid(pixels.shape[:3]),
        flair_only=all(slice_.flair_only for slice_ in slices),
        spacing=spacings.pop() if len(spacings) == 1 else None,
        notes=tuple(notes),
    )


def _pictures(files: Sequence[File]) -> Iterator[tuple[Picture, str]]:
    """The pages of a lone TIFF, or a picture of each file, with their names; all of one size.

    Raises:
        SliceError, SeriesError: a file cannot be read (it is named), the sizes differ, or there is too much.
    """
    first: tuple[tuple[int, ...], str] | None = None
    for file in files:
        with named(file.name):
            stack = len(files) == 1 and kind_of(file.whole()) == TIFF
            pages = guarded(decode_stack, file.whole()) if stack else [_decode(file.whole())]
        for number, picture in enumerate(pages, start=1):
            name = f"{file.name}, page {number}" if stack else file.name
            height, width = size = picture.pixels.shape[:2]
            first = first or (size, name)
            # At once, so that no more is kept than one series may take.
            check_volume(len(files), height, width)
            if size != first[0]:
                (rows, columns), other = first
                raise SeriesError(
                    f"{name} is {width} × {height} pixels, {other} is {columns} × {rows}. "
                    "Give the slices of one series."
                )
            yield picture, name


def _is_mask(file: File) -> bool:
    return PurePath(file.name).stem.lower().endswith("_mask")


def _read_masks(files: Sequence[File]) -> NDArray[np.bool_]:
    kinds = {kind_of_series(file.whole()) for file in files}
    if NIFTI in kinds:
        if len(files) > 1:
            raise SeriesError("A ground truth is one NIfTI volume. Give that one alone.")
        volumes = nifti_volumes(files)
        series = volumes.read({FLAIR: volumes.candidates[0]}, files[0].name)
        drawn: NDArray[np.bool_] = series.pixels[..., FLAIR] > 0
        return drawn
    if DICOM in kinds:
        raise SeriesError("A ground truth is not read from DICOM. Save the masks as NIfTI, PNG or TIFF.")
    masks = []
    for picture, name in _pictures(files):
        with named(name):
            masks.append(_as_mask(picture))
    return np.stack(masks)
