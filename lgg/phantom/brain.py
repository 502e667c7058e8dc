"""The brain: the ICBM 152 template's tissue maps, made into one person's."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lgg.errors import DataError
from lgg.phantom.grid import Map, smooth_noise, step_at

#: Levels averaged into one slice, in millimetres: a 3 mm slice, thinner than most of the data's 5 mm
#: because the template, an average of 152 people, is blurred already.
SLAB = (-1.5, -0.75, 0.0, 0.75, 1.5)


@dataclass(frozen=True)
class Template:
    """The ICBM 152 brain (2009a, non-linear, symmetric, 1 mm): two volumes of shape (X, Y, Z).

    Attributes:
        grey, white: float64, 0 to 1, the share of each tissue.
        origin: the voxel of the point (0, 0, 0) in millimetres.
    """

    grey: Map
    white: Map
    origin: tuple[float, float, float]


def load_template() -> Template:
    """Read the template that nilearn ships inside its package (no download).

    Raises:
        DataError: nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError:
        raise DataError("Phantoms are made with nilearn: pip install nilearn nibabel.") from None
    grey = datasets.load_mni152_gm_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1)
    x, y, z = (float(-offset) for offset in grey.affine[:3, 3])
    return Template(
        grey=np.asarray(grey.dataobj, np.float64),
        white=np.asarray(white.dataobj, np.float64),
        origin=(x, y, z),
    )


def sample(volume: Map, template: Template, x: Map, y: Map, z: Map) -> Map:
    """A volume of the template's shape at positions in millimetres, linearly interpolated."""
    i, j, k = template.origin
    return ndimage.map_coordinates(volume, [x + i, y + j, z + k], order=1, mode="constant", prefilter=False)


def brain_shares(
    rng: np.random.Generator, template: Template, position: tuple[Map, Map, Map], depth: Map, sulci: float
) -> dict[str, Map]:
    """Shares of grey, white, csf and choroid plexus, averaged over the slice's thickness; they add up to 1.

    Args:
        rng: of this person.
        template: from `load_template`.
        position: where in the template each pixel is found, (x, y, z) in millimetres.
        depth: distance from the inside of the skull in millimetres, positive inside.
        sulci: millimetres to widen the sulci by.
    """
    x, y, z = position
    distances = _distance_from_white(template, float(np.median(z)))
    thickness = 3.6 - sulci + 0.35 * smooth_noise(rng, 5)
    # Average sulci are wider apart next to the midline and under the skull than anyone's own.
    thickness = thickness + 1.6 * np.exp(-((x / 13) ** 2)) + 0.8 * np.exp(-((depth / 3) ** 2))
    deep_nuclei = (np.hypot(x / 46, (y + 5) / 45) < 1) & (z < 26)
    # Partial volume of an average is not one person's: fluid gets a clear edge, a slightly uneven one.
    threshold = 0.47 + 0.05 * smooth_noise(rng, 2)
    grey_sum, white_sum, fluid_sum = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for offset in SLAB:
        grey = sample(template.grey, template, x, y, z + offset)
        white = sample(template.white, template, x, y, z + offset)
        from_white = sample(distances, template, x, y, z + offset)
        # Between the folds the template shows an average of 152 people's sulci. One person's are open:
        # what lies further from the white matter than the cortex is thick is fluid.
        sulcus = np.where(deep_nuclei, 0, step_at(from_white, thickness, 0.2))
        fluid = np.maximum(step_at(1 - grey - white, threshold, 0.06), 0.9 * sulcus)
        share = step_at(white / np.maximum(grey + white, 1e-3), 0.47, 0.13)
        fluid_sum += fluid / len(SLAB)
        white_sum += share * (1 - fluid) / len(SLAB)
        grey_sum += (1 - share) * (1 - fluid) / len(SLAB)
    # The plexus hangs in the trigones of the lateral ventricles.
    trigone = np.exp(-(((np.abs(x) - 20) / 7) ** 2) - ((y + 38) / 8) ** 2 - ((z - 10) / 9) ** 2)
    plexus = fluid_sum * trigone * step_at(smooth_noise(rng, 1.5), 0.1, 0.2) * (depth > 20)
    return {"grey": grey_sum, "white": white_sum, "csf": fluid_sum - plexus, "plexus": plexus}


def _distance_from_white(template: Template, level: float) -> Map:
    """Distance to the nearest white matter in millimetres, right near `level` and 0 elsewhere."""
    middle = round(level + template.origin[2])
    near = slice(max(0, middle - 22), middle + 22)
    distance = np.zeros_like(template.white)
    white = ndimage.gaussian_filter(template.white[:, :, near], 0.4)
    distance[:, :, near] = ndimage.distance_transform_edt(white < 0.42)
    return distance
