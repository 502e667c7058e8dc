"""The outlined tumour inside a translucent head, as surfaces that can be turned: a GLB (binary glTF) file."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from lgg.types import SeriesResult
from lgg.visualize import PREDICTED

if TYPE_CHECKING:
    from trimesh import Trimesh

#: Cells along the longest side of the tumour's box, and of the head's.
TUMOUR_CELLS, HEAD_CELLS = 96, 48
#: Grey, and a share of 255 that lets the tumour shine through.
HEAD_COLOUR = (190, 200, 215, 60)
#: A surface runs where a smoothed mask falls to this share; what is too small for it, at half of its peak.
LEVEL = 0.5

Distances = tuple[float, float, float]


def surface_glb(result: SeriesResult) -> bytes | None:
    """The surfaces of tumour and head.

    The patient faces the viewer: x to the patient's left, y up, z to the front. Units are millimetres where
    spacing and slice distance are known, else voxels.

    Returns:
        a GLB file; None where nothing is outlined.
    """
    if result.voxels == 0:
        return None
    distances = result.series.distances or (1.0, 1.0, 1.0)
    return _glb(mesh(result.masks, distances, TUMOUR_CELLS), mesh(result.heads, distances, HEAD_CELLS))


def mesh(mask: NDArray[np.bool_], distances: Distances, cells: int) -> "Trimesh | None":
    """The smoothed, closed surface of a mask; its normals point outwards.

    Args:
        mask: (N, H, W) bool.
        distances: between slices, rows and columns.
        cells: of the even grid on which it is drawn, along the longest side of the mask's box.

    Returns:
        vertices in the axes of `surface_glb`; None where the mask is empty.
    """
    import trimesh

    if not mask.any():
        return None
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    inside, step = mask[box], np.array(distances)
    extent = step * inside.shape
    cell = max(extent.max() / cells, step.min())
    # Voxel centres seen from the centres of an even grid's cells.
    places = [(np.arange(max(1, round(side / cell))) + 0.5) * cell for side in extent]
    indices = [
        np.minimum((place / side).astype(int), count - 1)
        for place, side, count in zip(places, step, inside.shape, strict=True)
    ]
    # Thick slices would look like stairs: smooth by half of a voxel, at least by a cell.
    blur = np.maximum(1, step / cell / 2)
    margin = np.ceil(3 * blur).astype(int) + 1
    sampled = np.pad(inside[np.ix_(*indices)].astype(np.float32), [(width, width) for width in margin])
    smooth = ndimage.gaussian_filter(sampled, blur)
    vertices, faces, _, _ = marching_cubes(smooth, min(LEVEL, smooth.max() / 2))
    origin = step * [side.start for side in box]
    slices, rows, columns = ((vertices + 0.5 - margin) * cell + origin).T
    # Skimage's faces look inwards, and mirroring the rows turns them around.
    return trimesh.Trimesh(np.column_stack([columns, slices, -rows]), faces, process=False)


def _glb(tumour: "Trimesh | None", head: "Trimesh | None") -> bytes:
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    scene = trimesh.Scene()
    for name, surface, colour in (("tumour", tumour, (*PREDICTED, 255)), ("head", head, HEAD_COLOUR)):
        if surface is None:
            continue
        surface.visual = TextureVisuals(
            material=PBRMaterial(
                name=name,
                baseColorFactor=colour,
                alphaMode="BLEND" if colour[3] < 255 else "OPAQUE",
                metallicFactor=0.0,
                roughnessFactor=0.7,
            )
        )
        scene.add_geometry(surface, geom_name=name, node_name=name)
    return bytes(scene.export(file_type="glb", include_normals=True))
