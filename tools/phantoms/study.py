"""A phantom study: one head scanned in three sequences, as volumes with affines and a mask.

Both T1 are there twice: on the FLAIR's grid, and on a grid of their own, tilted and with other voxels, as
scanners make them.
"""

import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lgg.files import write_atomically
from lgg.types import FLAIR, POST, PRE
from tools.phantoms.anatomy import Person, Template, make_head, pixel_positions
from tools.phantoms.scanner import Lesion, Pixels, Scanner, mass_effect, scan

#: Millimetres above the anterior commissure of the lowest slice, slices, and millimetres between them.
LOWEST, SLICES, GAP = -22.0, 28, 3.4
PERSON = Person(level=LOWEST, seed=77, scale=(0.98, 1.02), turn=2)
SCANNER = Scanner(seed=201, bias=0.01)
LESION = Lesion(x=30, y=10, radii=(24, 17), turn=60, push=4, seed=13)
#: The lesion's middle and its half axis from top to bottom, in millimetres.
LESION_LEVEL, LESION_HEIGHT = 30.0, 17.0
#: Degrees by which the scanner's axes are turned about the patient's x, as slices are laid along the brain.
NOD = 8.0
FILES = {"T1.nii.gz": PRE, "FLAIR.nii.gz": FLAIR, "T1-post.nii.gz": POST}
#: The T1s' own grid: voxels, millimetres of a voxel, and degrees that it is turned about x, then y, then z.
OWN_SHAPE, OWN_SPACING, OWN_TURNS = (208, 240, 26), (1.15, 1.0, 4.4), (2.0, 2.0, 4.0)


def draw(template: Template, gap: float) -> tuple[Pixels, Pixels]:
    """The head's slices from below.

    Args:
        template: from `load_template`.
        gap: millimetres between two slices.

    Returns:
        image: (N, 256, 256, 3) uint8 in the order of `lgg.types.SEQUENCES`.
        mask: (N, 256, 256) uint8, 0 or 255.
    """
    slices = []
    for number in range(round(SLICES * GAP / gap)):
        level = LOWEST + number * gap
        away = (level - LESION_LEVEL) / LESION_HEIGHT
        size = np.sqrt(max(1 - away**2, 0.0))
        radii = (LESION.radii[0] * size, LESION.radii[1] * size)
        lesions = (replace(LESION, radii=radii, push=LESION.push * size),) if size > 0.2 else ()
        # Temporal muscles end, and the scalp grows thicker, towards the vertex.
        person = replace(PERSON, level=level, temporalis=float(np.clip(8 - level / 5, 0, 8)))
        head = make_head(template, person, mass_effect(lesions, *pixel_positions()))
        slices.append(scan(head, lesions, replace(SCANNER, seed=SCANNER.seed + number)))
    image, mask = zip(*slices, strict=True)
    return np.stack(image), np.stack(mask)


def affine_of(
    shape: tuple[int, ...], spacing: tuple[float, float, float], turns: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(4, 4) from voxels (column, row, slice) to RAS millimetres: columns to the left, rows to the back."""
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", turns, degrees=True).as_matrix()
    affine[:3, :3] = turned @ np.diag([-spacing[0], -spacing[1], spacing[2]])
    middle = (np.array(shape) - 1) / 2
    affine[:3, 3] = np.array([0, 0, LOWEST + (SLICES - 1) * GAP / 2]) - affine[:3, :3] @ middle
    return affine


def volume_of(pixels: NDArray[np.uint8], gap: float) -> nib.Nifti1Image:
    """(N, H, W) slices as a NIfTI volume in its place."""
    data = np.ascontiguousarray(pixels.transpose(2, 1, 0))
    affine = affine_of((*data.shape[:2], SLICES), (1, 1, GAP), (NOD, 0, 0))
    affine[:3, 2] *= gap / GAP  # the lowest slice lies where it does, however close the next one is
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    return image


def write_study(folder: Path, template: Template) -> None:
    """Write the volumes: `FLAIR`, `T1`, `T1-post` and `mask`, and the T1s once more in `own-grid`."""
    image, mask = draw(template, GAP)
    fine, _ = draw(template, GAP / 2)
    own_affine = affine_of(OWN_SHAPE, OWN_SPACING, OWN_TURNS)
    for name, channel in FILES.items():
        _write(volume_of(image[..., channel], GAP), folder / name)
        if channel != FLAIR:
            own = resample_from_to(volume_of(fine[..., channel], GAP / 2), (OWN_SHAPE, own_affine), order=1)
            _write(
                nib.Nifti1Image(np.asarray(own.dataobj).astype(np.uint8), own_affine),
                folder / "own-grid" / name,
            )
    _write(volume_of(mask // 255, GAP), folder / "mask.nii.gz")


def _write(volume: nib.Nifti1Image, path: Path) -> None:
    """Write `.nii.gz`, the same bytes each time."""
    packed = gzip.compress(volume.to_bytes(), mtime=0)
    write_atomically(path, lambda partial: partial.write_bytes(packed))
