"""Makers of DICOM files for the tests: one MR slice in any packing, with a patient whom nothing may show."""

import io

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

#: Stands in every field that could tell who the patient is.
PATIENT = "Doe^Jane"
STUDY, SERIES, FRAME = "1.2.826.0.1.1", "1.2.826.0.1.2", "1.2.826.0.1.3"
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
RLE, DEFLATED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4."
#: What an enhanced file tells in its frames' groups.
ENHANCED = {
    "SOPClassUID": EnhancedMRImageStorage,
    **dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")),
}


def header(rows, columns, *, number=1, series=SERIES, description="FLAIR", **changes):
    """A `Dataset` without pixels; `changes` by DICOM keyword, None to leave a tag out."""
    fields = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": f"{series}.{number}",
        "StudyDate": "19700101",
        "AccessionNumber": PATIENT,
        "Modality": "MR",
        "InstitutionName": PATIENT,
        "ReferringPhysicianName": PATIENT,
        "SeriesDescription": description,
        "PatientName": PATIENT,
        "PatientID": PATIENT,
        "PatientBirthDate": "19700101",
        "PatientComments": PATIENT,
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": series,
        "SeriesNumber": 1,
        "InstanceNumber": number,
        "ImagePositionPatient": [-100.0, -120.0, 5.0 * number],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "FrameOfReferenceUID": FRAME,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "PixelSpacing": [0.75, 0.5],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        **changes,
    }
    dataset = Dataset()
    for keyword, value in fields.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def packed(pixels, syntax):
    """The bytes of (H, W) integer pixels in a transfer syntax."""
    if syntax in (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED):
        return pixels.astype(pixels.dtype.newbyteorder(">" if syntax == BIG_ENDIAN else "<")).tobytes()
    bits = 8 * pixels.itemsize
    stored = pixels.view(f"u{pixels.itemsize}")
    code = syntax.removeprefix(JPEG)
    if syntax == RLE:
        frame = RLELosslessEncoder.encode(
            stored,
            rows=pixels.shape[0],
            columns=pixels.shape[1],
            samples_per_pixel=1,
            bits_allocated=bits,
            bits_stored=bits,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            number_of_frames=1,
        )
    elif code in ("57", "70"):
        frame = imagecodecs.ljpeg_encode(stored, bitspersample=bits)
    elif code in ("80", "81"):
        frame = imagecodecs.jpegls_encode(stored)
    elif code == "90":
        frame = imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="j2k")
    else:
        frame = imagecodecs.jpeg8_encode(stored, level=95)
    return encapsulate([frame])


def dicom(pixels, syntax=EXPLICIT, *, data=None, **changes):
    """A DICOM file of (H, W) integers, or with `data` in place of its packed pixels (b"" for none)."""
    dataset = header(*pixels.shape[:2], **changes)
    content = packed(pixels, syntax) if data is None else data
    if content:
        dataset.PixelData = content
        dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 and syntax != IMPLICIT else "OW"
        if syntax not in (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED):
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
    return written(dataset, syntax)


def written(dataset, syntax):
    """The bytes of a file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", MRImageStorage)
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = dataset.SOPInstanceUID, syntax
    dataset.file_meta = meta
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def enhanced(volume, syntax=EXPLICIT, *, step=5.0, frames=None, shared=None, **changes):
    """An enhanced MR file of (N, H, W) integers, axial planes from bottom to top.

    Args:
        frames: for each frame, sequence → fields of its functional group, instead of its place.
        shared: the same for all frames, beside directions and spacing.
    """
    groups = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        "PixelMeasuresSequence": {"PixelSpacing": [0.75, 0.5], "SliceThickness": 4},
        **(shared or {}),
    }
    places = [
        {"PlanePositionSequence": {"ImagePositionPatient": [-100, -120, number * step]}}
        for number in range(len(volume))
    ]
    dataset = header(*volume.shape[1:], **ENHANCED, **{"NumberOfFrames": len(volume), **changes})
    dataset.SharedFunctionalGroupsSequence = [functional_groups(groups)]
    dataset.PerFrameFunctionalGroupsSequence = [functional_groups(group) for group in frames or places]
    encapsulated = syntax not in (IMPLICIT, EXPLICIT, BIG_ENDIAN)
    if encapsulated:
        dataset.PixelData = encapsulate(
            [next(generate_frames(packed(plane, syntax), number_of_frames=1)) for plane in volume]
        )
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.PixelData, dataset["PixelData"].VR = packed(volume, syntax), "OW"
    return written(dataset, syntax)


def functional_groups(groups):
    dataset = Dataset()
    for keyword, fields in groups.items():
        item = Dataset()
        for name, value in fields.items():
            setattr(item, name, value)
        setattr(dataset, keyword, [item])
    return dataset


def scan(height=48, width=40, *, bits=12, seed=0):
    """(H, W) uint16 noise of so many bits."""
    return np.random.default_rng(seed).integers(0, 2**bits, (height, width), dtype=np.uint16)
