"""A made-up data set of the `kaggle_3m` shape: round heads, some with a bright round tumour."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 48


def draw_slice(rng: np.random.Generator, tumour: bool) -> tuple[np.ndarray, np.ndarray]:
    """One (SIDE, SIDE, 3) uint8 image and its 0/255 mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    head = (rows - SIDE / 2) ** 2 + (columns - SIDE / 2) ** 2 < (0.42 * SIDE) ** 2
    row, column = rng.integers(SIDE // 3, 2 * SIDE // 3, 2)
    mask = ((rows - row) ** 2 + (columns - column) ** 2 < (0.12 * SIDE) ** 2) & tumour
    image = rng.normal(5, 2, (SIDE, SIDE, 3)) + 80 * head[..., None]
    image[..., 1] += 90 * mask
    return image.clip(0, 255).astype(np.uint8), (mask * 255).astype(np.uint8)


def write_folder(root: Path, patients: int, slices: int = 6, prefix: str = "CASE") -> Path:
    """Write `patients` folders of `slices` slices, the middle half of them with tumour."""
    rng = np.random.default_rng(0)
    for patient in range(patients):
        name = f"{prefix}_{patient:02d}"
        (root / name).mkdir(parents=True)
        for number in range(1, slices + 1):
            tumour = slices // 4 < number <= slices - slices // 4
            image, mask = draw_slice(rng, tumour)
            Image.fromarray(image).save(root / name / f"{name}_{number}.tif")
            Image.fromarray(mask).save(root / name / f"{name}_{number}_mask.tif")
    return root
