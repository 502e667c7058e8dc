"""What tifffile may be asked to read: a TIFF's chain of pages and tags, walked once, before it sees them.

tifffile trusts the counts of tags: it loads long ones whole, follows vendors' metadata, and drops a tag that
is out of place. So a file whose tags are too many, too long or go in a circle is refused here.
"""

import struct
from collections import Counter

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT, MAX_BYTES

STACK = (
    "the TIFF holds several images, and one slice is read here. Save one slice as its own file; "
    "if they are the three sequences of one slice, save them as the three channels of one image."
)
#: Pages in a chain, thumbnails among them, and tags a page. A slice has about one and twenty.
MAX_PAGES, MAX_TAGS = 32, 1024
#: Values in all tags together: enough for strips of one row and for tiles of 16 × 16 pixels. A stack may have
#: four times as many: 512 pages of 512 strips.
MAX_VALUES = 2**19
#: XMP, IPTC, Photoshop and ICC blocks may be longer: tifffile reads them only when asked.
OPAQUE = frozenset((700, 33723, 34377, 34675, 37724))
#: Tags by which tifffile knows MetaMorph, Zeiss and Hamamatsu files, and reads their pixels by other rules.
MICROSCOPES = frozenset((33628, 34412, 65420))
IMAGEJ_LENGTHS, IMAGEJ_BLOCK = 50838, 50839


def walk_tags(data: bytes, pages: int = 1) -> list[frozenset[int]]:
    """The tag codes of every page of a TIFF or BigTIFF, in the file's order.

    Args:
        pages: how many slices the file may hold; thumbnails and masks come on top.

    Raises:
        SliceError: the chain runs in a circle or beyond the limits, or the file is a microscope's.
        struct.error: the chain leaves the file.
    """
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    number, entry, link = (
        struct.Struct(order + kinds) for kinds in (("Q", "HHQQ", "Q") if big else ("H", "HHII", "I"))
    )
    (offset,) = link.unpack_from(data, 8 if big else 4)
    found: dict[int, frozenset[int]] = {}
    lengths: Counter[int] = Counter()
    while offset:
        if offset in found:
            raise SliceError(CUT_SHORT)
        if len(found) == pages - 1 + MAX_PAGES:
            raise SliceError(STACK)
        (count,) = number.unpack_from(data, offset)
        if count > MAX_TAGS:
            raise SliceError(CUT_SHORT)
        start = offset + number.size
        end = start + count * entry.size
        tags = list(entry.iter_unpack(data[start:end]))
        for code, _, length, _ in tags:
            lengths[code] += length
        found[offset] = frozenset(code for code, *_ in tags)
        (offset,) = link.unpack_from(data, end)
    if lengths.keys() & MICROSCOPES:
        raise SliceError("it is a microscope's TIFF, which is not read here. Save the slice as a plain TIFF.")
    # tifffile cuts ImageJ's block into as many pieces as there are lengths, each up to the block's own.
    pieces = lengths[IMAGEJ_LENGTHS] * lengths[IMAGEJ_BLOCK]
    values = sum(lengths[code] for code in lengths.keys() - OPAQUE)
    if pieces > MAX_BYTES or values > MAX_VALUES * min(pages, 4):
        raise SliceError(CUT_SHORT)
    return list(found.values())
