"""Which format a file has, by its first bytes; its suffix is never asked."""

from lgg.errors import SliceError
from lgg.reading.dicom_header import is_dicom

TIFF, PNG, JPEG, DICOM = "TIFF", "PNG", "JPEG", "DICOM"

READABLE = {
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,  # BigTIFF
    b"MM\0+": TIFF,
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
}

EXPORT_SLICE = "Save one axial slice of it as TIFF or PNG and upload that."
SAVE_AGAIN = "Save it as TIFF or PNG and upload that."
UNPACK = "Unpack it and upload one slice as TIFF, PNG or JPEG."

#: (offset, bytes there, what it is, what to do). The first match counts.
FOREIGN = (
    (344, b"n+1\0", "a NIfTI volume", EXPORT_SLICE),
    (344, b"ni1\0", "the header of a NIfTI volume", EXPORT_SLICE),
    (4, b"n+2\0", "a NIfTI volume", EXPORT_SLICE),
    (4, b"ni2\0", "the header of a NIfTI volume", EXPORT_SLICE),
    (
        0,
        b"\x1f\x8b",
        "a gzip archive (often a NIfTI volume)",
        "Unpack it, then save one axial slice as TIFF or PNG.",
    ),
    (0, b"NRRD", "an NRRD volume", EXPORT_SLICE),
    (0, b"ObjectType", "a MetaImage header", EXPORT_SLICE),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (MINC or MATLAB, perhaps)", EXPORT_SLICE),
    (0, b"MATLAB 5.0", "a MATLAB file", EXPORT_SLICE),
    (0, b"\x93NUMPY", "a NumPy array", EXPORT_SLICE),
    (0, b"GIF8", "a GIF", SAVE_AGAIN),
    (0, b"BM", "a BMP", SAVE_AGAIN),
    (8, b"WEBP", "a WebP image", SAVE_AGAIN),
    (4, b"ftypavif", "an AVIF image", SAVE_AGAIN),
    (4, b"ftyphei", "a HEIC photo", SAVE_AGAIN),
    (4, b"ftyphev", "a HEIC photo", SAVE_AGAIN),
    (4, b"ftypmif1", "a HEIC photo", SAVE_AGAIN),
    (4, b"ftypmsf1", "a HEIC photo", SAVE_AGAIN),
    (4, b"ftyp", "a video", "Upload slices as TIFF, PNG or JPEG."),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image", SAVE_AGAIN),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", SAVE_AGAIN),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image", SAVE_AGAIN),
    (0, b"\xff\x0a", "a JPEG XL image", SAVE_AGAIN),
    (0, b"8BPS", "a Photoshop document", SAVE_AGAIN),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image", SAVE_AGAIN),
    (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    (0, b"PK\x05\x06", "an empty ZIP archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (257, b"ustar", "a TAR archive", UNPACK),
    (0, b"%PDF", "a PDF", "Export the slice itself as TIFF or PNG and upload that."),
    (0, b"<", "text (a web page, SVG or XML)", "Upload the picture itself as TIFF, PNG or JPEG."),
)

#: The first field of a NIfTI-1 or Analyze header, which holds its own length, in either byte order.
ANALYZE_LENGTH = (b"\x5c\x01\0\0", b"\0\0\x01\x5c")


def kind_of(data: bytes) -> str:
    """Name the format of a file's bytes: `TIFF`, `PNG`, `JPEG` or `DICOM`.

    Raises:
        SliceError: it is empty, another format (named), or nothing known.
    """
    if not data:
        raise SliceError("the file is empty. Export the slice once more, as TIFF, PNG or JPEG.")
    if is_dicom(data):  # asked first: some writers put the beginning of a TIFF in front of DICOM's mark
        return DICOM
    for magic, kind in READABLE.items():
        if data.startswith(magic):
            return kind
    for offset, magic, what, advice in FOREIGN:
        if data.startswith(magic, offset):
            raise SliceError(f"this is {what}, which is not read here. {advice}")
    if len(data) >= 348 and data.startswith(ANALYZE_LENGTH):
        raise SliceError(f"this is an Analyze volume's header, which is not read here. {EXPORT_SLICE}")
    raise SliceError("this is not an image that can be read. Upload TIFF, PNG, JPEG or DICOM.")
