"""Makers of series for the tests: slice files, archives, NIfTI and DICOM volumes, and blobs in them."""

import gzip
import io
import zipfile
from itertools import permutations, product

import nibabel as nib
import numpy as np

from tests.dicom_files import SERIES, dicom
from tests.reading_files import noise, tiff

#: All 48 ways in which an array's axes can lie along the patient's, as columns of ±1.
DIRECTIONS = [
    np.eye(3)[:, list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


def affine(directions, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = directions * spacing
    matrix[:3, 3] = origin
    return matrix


def rotated(degrees, axis):
    turn = np.radians(degrees)
    matrix = np.eye(3)
    first, other = [number for number in range(3) if number != axis]
    matrix[[first, other], [first, other]] = np.cos(turn)
    matrix[first, other], matrix[other, first] = -np.sin(turn), np.sin(turn)
    return matrix


def tilted_plane(*degrees):
    """Directions of a row and of a column of axial planes, turned about the patient's axes."""
    turned = np.linalg.multi_dot([rotated(turn, axis) for axis, turn in enumerate(degrees)])
    return tuple(map(tuple, turned.T[:2]))


#: Directions of a row and of a column in LPS: axial, the same turned by half, coronal, sagittal, and tilted.
PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "axial upside down": ((-1, 0, 0), (0, -1, 0)),
    "axial mirrored": ((-1, 0, 0), (0, 1, 0)),
    "axial lying": ((0, 1, 0), (1, 0, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "tilted": tilted_plane(15, 0, 0),
    "oblique": tilted_plane(20, 0, 10),
}
AXIAL = PLANES["axial"]


def slices(count=4, height=48, width=40, channels=3):
    """(count, H, W, C) uint8, all different."""
    return noise(count, height, width, channels)


def slice_files(pixels, pattern="patient_{}.tif"):
    """Name → TIFF of each slice, numbered from 1."""
    return {pattern.format(number): tiff(page) for number, page in enumerate(pixels, start=1)}


def archive(files, compression=zipfile.ZIP_DEFLATED):
    """A ZIP archive of name → bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return stream.getvalue()


def nifti(voxels, affine, *, codes=(1, 1), packed=True, kind=nib.Nifti1Image):
    """A NIfTI file with free texts that nothing may keep; `codes` are those of qform and sform."""
    image = kind(voxels, affine)
    image.set_qform(affine, codes[0], strip_shears=True)
    image.set_sform(affine, codes[1])
    image.header["descrip"] = b"Doe^Jane"
    data = image.to_bytes()
    return gzip.compress(data) if packed else data


def blob(shape, affine, centre, radius):
    """Which voxels of an array lie within `radius` mm of a place in the patient (RAS): (…) bool."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = indices @ affine[:3, :3].T + affine[:3, 3]
    return np.linalg.norm(places - centre, axis=-1) <= radius


def dicom_stack(
    volume, row, column, *, spacing=(0.75, 0.5), step=5.0, origin=(-100.0, -120.0, 30.0), **changes
):
    """A DICOM file for each plane of (N, H, W) uint16, along the normal of two directions; and the affine.

    Returns:
        files in the order of the planes, and (4, 4) from (plane, row, column) to RAS millimetres.
    """
    normal = np.cross(row, column)
    series = changes.pop("series", SERIES)
    files = []
    for number, plane in enumerate(volume):
        position = origin + number * step * normal
        files.append(
            dicom(
                plane,
                series=series,
                number=1000 - number,  # neither names nor numbers tell the order
                ImagePositionPatient=[f"{number:.6f}" for number in position],
                ImageOrientationPatient=[f"{number:.6f}" for number in (*row, *column)],
                **{"PixelSpacing": list(spacing), **changes},
            )
        )
    affine = np.eye(4)
    lps = np.column_stack([step * normal, np.multiply(column, spacing[0]), np.multiply(row, spacing[1])])
    affine[:3, :3], affine[:3, 3] = np.diag([-1, -1, 1]) @ lps, np.multiply(origin, (-1, -1, 1))
    return files, affine


def write(folder, files):
    """Write name → bytes below a folder, which is returned."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
