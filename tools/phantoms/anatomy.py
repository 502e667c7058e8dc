"""One person's head at one level: shares of every tissue on a fine grid, from the ICBM 152 template."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: A picture on the fine grid: (GRID, GRID) unless said otherwise. Double precision, so that the
#: last bit of another machine's arithmetic next to never changes a grey level.
Map = NDArray[np.float64]

#: Pixels along a side of the fine grid. The scanner averages 2×2 of them: that is the partial volume
#: in the plane, and the finished slice has the 256×256 of the `kaggle_3m` data.
GRID = 512
#: Millimetres between two points of the fine grid (the finished pixel is 1 mm wide, close to the data).
STEP = 0.5
#: Levels averaged into one slice, in millimetres: a 3 mm slice, thinner than most of the data's 5 mm
#: because the template, an average of 152 people, is blurred already.
SLAB = (-1.5, -0.75, 0.0, 0.75, 1.5)
#: Where the middle of the picture lies in the template, in millimetres: (x, y), y towards the nose. The
#: data's heads stand a little below the middle of the picture.
CENTRE = (0.0, -9.0)


def pixel_positions() -> tuple[Map, Map]:
    """Millimetres from the middle of the picture for each point of the fine grid: x to the right, y up."""
    row, column = (np.indices((GRID, GRID)) - (GRID - 1) / 2) * STEP
    return column, -row


def smooth_noise(rng: np.random.Generator, sigma_mm: float) -> Map:
    """Gaussian noise of mean 0 and variance 1 on the fine grid, with details about `sigma_mm` wide.

    The noise is drawn on a grid as coarse as its details allow and enlarged, which is much faster than
    filtering the fine grid with a wide kernel.
    """
    factor = max(1, int(sigma_mm / STEP / 3))
    coarse = rng.standard_normal((GRID // factor + 4,) * 2)
    coarse = ndimage.gaussian_filter(coarse, sigma_mm / STEP / factor, mode="wrap")
    fine = ndimage.zoom(coarse, factor, order=3)[:GRID, :GRID] if factor > 1 else coarse[:GRID, :GRID]
    if factor > 1:
        fine = ndimage.gaussian_filter(fine, factor / 2)
    return (fine - fine.mean()) / fine.std()


def step_at(value: Map, edge: Map | float, softness: float) -> Map:
    """A soft step from 0 to 1 where `value` passes `edge`; both and `softness` in the same unit."""
    return 1 / (1 + np.exp(np.clip((edge - value) / softness, -30, 30)))


@dataclass(frozen=True)
class Template:
    """The ICBM 152 brain (2009a, non-linear, symmetric, 1 mm): two volumes of shape (X, Y, Z).

    Attributes:
        grey, white: float64, 0 to 1, the share of each tissue.
        origin: (3,) the voxel of the point (0, 0, 0) in millimetres.
    """

    grey: Map
    white: Map
    origin: Map


def load_template() -> Template:
    """Read the template that nilearn ships inside its package (no download)."""
    from nilearn import datasets  # slow to import, and only here

    grey = datasets.load_mni152_gm_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1)
    return Template(
        grey=np.asarray(grey.dataobj, np.float64),
        white=np.asarray(white.dataobj, np.float64),
        origin=-grey.affine[:3, 3],
    )


def sample(volume: Map, template: Template, x: Map, y: Map, z: Map) -> Map:
    """A volume of the template's shape at positions in millimetres, linearly interpolated."""
    i, j, k = template.origin
    return ndimage.map_coordinates(volume, [x + i, y + j, z + k], order=1, mode="constant", prefilter=False)


def brain_shares(
    rng: np.random.Generator, template: Template, position: tuple[Map, Map, Map], depth: Map
) -> dict[str, Map]:
    """Shares of grey, white, csf and choroid plexus, averaged over the slice's thickness; they add up to 1.

    Args:
        rng: of this person.
        template: from `load_template`.
        position: where in the template each pixel is found, (x, y, z) in millimetres.
        depth: distance from the inside of the skull in millimetres, positive inside.
    """
    x, y, z = position
    distances = _distance_from_white(template, float(np.median(z)))
    thickness = 3.6 + 0.35 * smooth_noise(rng, 5)
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


def depth_in_skull(brain: Map) -> Map:
    """Distance from the inside of the skull in millimetres, positive inside, negative outside.

    A skull is smoother than the brain in it: of the brain's outline, seen from its middle, only the
    waves that fit five times or less around the head are kept.

    Args:
        brain: share of brain tissue, 0 to 1.
    """
    row, column = np.nonzero(brain > 0.5)
    middle = (row.min() + row.max()) / 2, (column.min() + column.max()) / 2
    bins = 180
    angle = np.arctan2(row - middle[0], column - middle[1])
    index = ((angle / (2 * np.pi) + 0.5) * bins).astype(int) % bins
    outline = np.zeros(bins)
    np.maximum.at(outline, index, np.hypot(row - middle[0], column - middle[1]))
    outline = ndimage.grey_closing(outline, 15, mode="wrap")  # bridges the fissure and wide sulci
    waves = np.fft.rfft(outline)
    waves[6:] = 0
    smooth = np.fft.irfft(waves, bins)
    smooth += np.quantile(outline - smooth, 0.6)  # most gyri reach the skull, and flatten against it
    rows, columns = np.indices(brain.shape)
    turn = (np.arctan2(rows - middle[0], columns - middle[1]) / (2 * np.pi) + 0.5) * bins - 0.5
    radius = np.interp(turn, np.arange(bins), smooth, period=bins)
    inside = np.hypot(rows - middle[0], columns - middle[1]) < radius
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    return ndimage.gaussian_filter(distance * STEP, 1 / STEP)


def shell_shares(
    rng: np.random.Generator, x: Map, y: Map, depth: Map, skull: float, scalp: float, temporalis: float
) -> dict[str, Map]:
    """Shares of everything around the brain, from the fluid outwards; they add up to 1 up to the skin.

    Args:
        rng: of this person.
        x, y: of each pixel, in millimetres from the middle of the picture.
        depth: from `depth_in_skull`.
        skull, scalp: mean thickness in millimetres.
        temporalis: greatest thickness of the temporal muscles in millimetres.
    """
    front = np.clip(y / np.maximum(np.hypot(x, y), 1), -1, 1)  # 1 at the forehead, -1 at the back
    ripple = [smooth_noise(rng, 22) for _ in range(4)]
    temple = np.exp(-(((front - 0.3) / 0.35) ** 2))
    squeeze = 0.5 * temple * min(1.0, temporalis / 6)  # little fat covers the muscle
    layers: list[tuple[str, Map | float]] = [
        ("csf", 0.6 + 0.9 * np.maximum(front, 0) + 0.3 * ripple[0]),
        ("dura", 0.5),
        ("bone", 1.0),
        ("marrow", skull - 2.2 + 1.0 * front**2 - 1.0 * temple + 0.4 * ripple[1]),
        ("bone", 1.2),
        ("muscle", temporalis * temple * (1 + 0.15 * ripple[2])),
        ("fat", (scalp + 0.5 * ripple[3]) * (1 - 0.2 * front) * (1 - squeeze)),
        ("skin", 1.3),
    ]
    shares: dict[str, Map] = {}
    start: Map | float = -50.0
    end: Map | float = 0.0
    for name, thickness in layers:
        end = end + np.maximum(thickness, 0)
        share = step_at(-depth, start, 0.2) - step_at(-depth, end, 0.2)
        shares[name] = shares.get(name, 0) + share
        start = end
    return shares


def add_sinus_and_falx(tissues: dict[str, Map], position: tuple[Map, Map, Map], depth: Map) -> None:
    """Draw the superior sagittal sinus, front and back, and the falx over the other tissues, in place.

    Args:
        tissues: name → share, changed.
        position: where in the template each pixel is found, (x, y, z) in millimetres.
        depth: from `depth_in_skull`.
    """
    x, y, z = position
    # The sinus is a triangle with its base on the skull and its apex in the fissure.
    half_width = np.where(y < 0, 5.0, 2.6) * np.clip((4.5 - depth) / 7, 0, 1)
    sinus = step_at(half_width - np.abs(x), 0.0, 0.3) * step_at(depth, -2.4, 0.2) * (half_width > 0.3)
    falx = np.exp(-((x / 0.7) ** 2)) * step_at(depth, 0.0, 0.5) * (tissues["csf"] > 0.25)
    # Its lower edge runs above the corpus callosum.
    falx = falx * step_at(np.hypot((y + 10) / 50, z / 36), 1.0, 0.03)
    for name, share in (("sinus", sinus), ("dura", 0.6 * falx)):
        for other in tissues:
            tissues[other] = tissues[other] * (1 - share)
        tissues[name] = tissues.get(name, 0) + share


@dataclass(frozen=True)
class Person:
    """What makes one head differ from the next.

    Attributes:
        level: height of the slice above the anterior commissure in millimetres (MNI z).
        seed: of everything random about this person.
        scale: width and length relative to the template.
        turn: rotation in the plane, in degrees.
        skull, scalp: thickness in millimetres.
        temporalis: greatest thickness of the temporal muscles in millimetres; 0 above their origin.
    """

    level: float
    seed: int
    scale: tuple[float, float] = (0.97, 0.97)
    turn: float = 0.0
    skull: float = 4.2
    scalp: float = 6.0
    temporalis: float = 0.0


@dataclass(frozen=True)
class Head:
    """A head on the fine grid.

    Attributes:
        tissues: name → (GRID, GRID) share of the pixel, 0 to 1; they add up to 1 in the head, 0 in the air.
        x, y: where each pixel lies in millimetres, before any warp: x to the picture's right, y to the nose.
        depth: distance from the inside of the skull in millimetres, negative outside it.
    """

    tissues: dict[str, Map]
    x: Map
    y: Map
    depth: Map

    @property
    def parenchyma(self) -> Map:
        """Share of grey and white matter together."""
        return self.tissues["grey"] + self.tissues["white"]


def make_head(template: Template, person: Person, push: tuple[Map, Map]) -> Head:
    """The tissues of one person at one level.

    Args:
        template: from `load_template`.
        person: whose head.
        push: mass effect, from `scanner.mass_effect`: how far each point of the brain has been moved, as
            (x, y) maps in millimetres.
    """
    rng = np.random.default_rng(person.seed)
    x, y = pixel_positions()
    x_source, y_source, z_source = _warp(rng, person, x, y)
    depth = depth_in_skull(sample(template.grey + template.white, template, x_source, y_source, z_source))
    # The skull does not give way: the push fades out towards it.
    fade = np.clip(depth / 12, 0, 1)
    x_source, y_source = x_source - push[0] * fade, y_source - push[1] * fade
    position = (x_source, y_source, z_source)
    brain = brain_shares(rng, template, position, depth)
    shell = shell_shares(rng, x, y, depth, person.skull, person.scalp, person.temporalis)
    room = step_at(depth, 0.0, 0.25)
    tissues: dict[str, Map] = {name: share * room for name, share in brain.items()}
    for name, share in shell.items():
        tissues[name] = tissues.get(name, 0) + share * (1 - room)
    add_sinus_and_falx(tissues, position, depth)
    return Head(tissues, x, y, depth)


def _warp(rng: np.random.Generator, person: Person, x: Map, y: Map) -> tuple[Map, Map, Map]:
    """Where in the template (millimetres) each pixel of this person is found."""
    angle = np.deg2rad(person.turn)
    x_turned = (np.cos(angle) * x + np.sin(angle) * y) / person.scale[0]
    y_turned = (np.cos(angle) * y - np.sin(angle) * x) / person.scale[1]
    # Broad waves give each head its shape and asymmetry, fine ones give each gyrus its own course.
    x_source = x_turned + CENTRE[0] + 1.5 * smooth_noise(rng, 40) + 1.2 * smooth_noise(rng, 8)
    y_source = y_turned + CENTRE[1] + 1.5 * smooth_noise(rng, 40) + 1.2 * smooth_noise(rng, 8)
    tilt = rng.normal(0, 0.02) * x + rng.normal(0, 0.04) * y
    z_source = person.level + tilt + 2.8 * smooth_noise(rng, 16) + 0.7 * smooth_noise(rng, 6)
    return x_source, y_source, z_source
