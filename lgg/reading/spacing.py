"""When a picture's resolution is believed to be the distance of MRI pixels.

TIFF and PNG have a field for the resolution, but most programs fill it with a default (72 or 96 dots an
inch) that says nothing about the patient. A spacing that is wrong makes every reported area wrong, and one
that is missing only leaves the area in pixels; so a stated resolution counts only when all of this holds:

1. its unit is stated: centimetre, inch or (PNG) metre, or the unit in ImageJ's own header;
2. both spacings lie within 0.1 to 10 mm, where MRI pixels do;
3. unless ImageJ stated the unit, neither axis looks like a default: not exactly one dot a unit, not a whole
   number of dots an inch (72, 96, 150, 300 …: printers and screens; 1 mm is 25.4), and not close to 72 or 96.
"""

import math

#: Plausible distance of MRI pixel centres, in millimetres.
SMALLEST, LARGEST = 0.1, 10.0
MM_PER_INCH = 25.4
#: Slack in dots an inch: PNG holds whole dots a metre, which turns 72 into 72.009.
WHOLE_DPI_SLACK = 0.02
SCREEN_DPI, SCREEN_SLACK = (72.0, 96.0), 0.5

#: Millimetres in the units that ImageJ writes; "pixel" and whatever else is not a length.
IMAGEJ_UNITS = {
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "inch": MM_PER_INCH,
    "micron": 0.001,
    "um": 0.001,
    "µm": 0.001,
    "\\u00B5m": 0.001,  # ImageJ escapes the micro sign
}


def believable(row_density: float, column_density: float, unit_mm: float) -> tuple[float, float] | None:
    """Spacing from a resolution field, by all three rules above.

    Args:
        row_density: pixels a unit from row to row.
        column_density: pixels a unit from column to column.
        unit_mm: the stated unit in millimetres.

    Returns:
        (row, column) spacing in millimetres, or None where it is doubtful.
    """
    if any(_is_default(density, unit_mm) for density in (row_density, column_density)):
        return None
    return plausible(row_density, column_density, unit_mm)


def plausible(row_density: float, column_density: float, unit_mm: float) -> tuple[float, float] | None:
    """Spacing by rule 2 alone, for a header that a person filled in. Arguments as in `believable`."""
    spacing = tuple(
        unit_mm / density if math.isfinite(density) and density > 0 else math.nan
        for density in (row_density, column_density)
    )
    if not all(SMALLEST <= distance <= LARGEST for distance in spacing):
        return None
    return spacing[0], spacing[1]


def _is_default(density: float, unit_mm: float) -> bool:
    if not math.isfinite(density) or density == 1:
        return True
    dpi = density * MM_PER_INCH / unit_mm
    whole = abs(dpi - round(dpi)) <= WHOLE_DPI_SLACK
    return whole or any(abs(dpi - screen) <= SCREEN_SLACK for screen in SCREEN_DPI)
