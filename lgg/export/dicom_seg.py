"""A mask as a DICOM Segmentation that refers to the images it was made from.

The patient's fields are empty: reading skips them. A viewer finds the images by their unique identifiers; an
archive that wants a patient needs them filled in by whoever stores the file, as the command line does with
`read_patient` where nothing leaves the machine.
"""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lgg.export.statistics import NOTICE, Provenance
from lgg.io.dicom_header import ENHANCED
from lgg.types import DicomReference, Series

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAKER, LABEL = "lgg (open source)", "LGG"
#: MR and CT images, as one file a slice; and the form of an identifier.
SLICES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2")
UID = re.compile(r"(?=.{5,64}$)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
#: The number of the new series; archives have hundreds at most.
SERIES_NUMBER = 9001
#: What a result may repeat of the patient and the study.
PATIENT = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)


def dicom_segmentation(
    series: Series,
    masks: NDArray[np.bool_],
    provenance: Provenance,
    patient: Mapping[str, str] | None = None,
    corrected: bool = False,
) -> bytes | None:
    """A DICOM file of one binary segment; None where the upload is no DICOM, or lacks what it must refer to.

    Args:
        series: what was examined.
        masks: (N, H, W) bool, of its axial slices.
        provenance: becomes the identification of the algorithm.
        patient: keyword of `PATIENT` → its value; all of them are empty by default.
        corrected: whether the masks were corrected by hand, which makes the algorithm a semiautomatic one.
    """
    if not _can_be_referred_to(series.dicom):
        return None
    import highdicom
    from pydicom.sr.codedict import codes

    first = series.dicom[0]
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"lgg {provenance.architecture}",
        family=codes.DCM.ArtificialIntelligence,
        version=provenance.segmenter_weights[:16] or "unknown",
        source=MAKER,
        parameters={
            "gating": provenance.gating,
            "mask threshold": f"{provenance.thresholds.mask:g}",
            "gate threshold": f"{provenance.thresholds.gate:g}",
        },
    )
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Low-grade glioma, suspected",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=kinds.SEMIAUTOMATIC if corrected else kinds.AUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=[codes.SCT.Brain],
    )
    # highdicom reads no file without a thickness, and takes it from the images, where not all state one.
    thickness = first.thickness or series.slice_distance
    voxels, headers = series.to_source(masks).astype(np.uint8), series.dicom
    if first.sop_class in ENHANCED:
        # Frames are referred to by their places in the file.
        order = np.argsort([header.frame for header in headers])
        voxels, headers = voxels[order], tuple(headers[index] for index in order)
        images = [_whole_reference(headers, patient or {}, thickness)]
    else:
        images = [_reference(header, first, patient or {}, thickness) for header in headers]
    segmentation = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=voxels,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=provenance.architecture,
        software_versions=provenance.segmenter_weights[:16] or "unknown",
        device_serial_number="none",
        content_label=LABEL,
        content_description=f"{NOTICE}; corrected by hand" if corrected else NOTICE,
        series_description=f"Glioma mask. {NOTICE}",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=list(first.spacing or ()), slice_thickness=thickness
        ),
        # Empty frames are left out, but a file must hold one.
        omit_empty_frames=bool(voxels.any()),
    )
    if patient:
        segmentation.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, for names in any script
    stream = io.BytesIO()
    segmentation.save_as(stream)
    return stream.getvalue()


def read_patient(data: bytes) -> dict[str, str]:
    """The fields of `PATIENT` that a DICOM file states: keyword → value. Nothing else reads them."""
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would show the patient's values
        header = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(PATIENT))
        return {keyword: str(header[keyword].value or "") for keyword in PATIENT if keyword in header}


def _can_be_referred_to(headers: Sequence[DicomReference]) -> bool:
    """Whether all that a segmentation must repeat is known; enhanced, of all frames of one file."""
    for header in headers:
        uids = (header.instance, header.series, header.study, header.frame_of_reference)
        if not all(map(UID.fullmatch, uids)):
            return False
        if None in (header.spacing, header.orientation, header.position):
            return False
    classes = {header.sop_class for header in headers}
    if not classes or classes <= set(SLICES):
        return bool(classes)
    whole = len({header.instance for header in headers}) == 1 and len(headers) == headers[0].frames
    return whole and classes <= set(ENHANCED)


def _reference(
    header: DicomReference, first: DicomReference, patient: Mapping[str, str], thickness: float | None
) -> "Dataset":
    """What highdicom asks of a source image; the patient's and the study's texts are empty unless given.

    It wants one direction and spacing for all: the first image's, from which the others differ by less than
    what makes a stack.
    """
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword in PATIENT:
        setattr(dataset, keyword, patient.get(keyword))
    dataset.SOPClassUID, dataset.SOPInstanceUID = header.sop_class, header.instance
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = header.study, header.series
    dataset.FrameOfReferenceUID = header.frame_of_reference
    dataset.Modality, dataset.Rows, dataset.Columns = "MR", header.rows, header.columns
    dataset.PixelSpacing = list(first.spacing or ())
    dataset.ImageOrientationPatient = list(first.orientation or ())
    dataset.ImagePositionPatient = list(header.position or ())
    dataset.SliceThickness = header.thickness or thickness
    return dataset


def _whole_reference(
    headers: Sequence[DicomReference], patient: Mapping[str, str], thickness: float | None
) -> "Dataset":
    """The same of an enhanced file, whose frames tell in groups where they lie."""
    import highdicom
    from pydicom.dataset import Dataset

    whole = _reference(headers[0], headers[0], patient, thickness)
    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence = highdicom.PixelMeasuresSequence(whole.PixelSpacing, whole.SliceThickness)
    shared.PlaneOrientationSequence = highdicom.PlaneOrientationSequence(
        "PATIENT", whole.ImageOrientationPatient
    )
    for header in headers:
        frame = Dataset()
        frame.PlanePositionSequence = highdicom.PlanePositionSequence("PATIENT", header.position or ())
        frames.append(frame)
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = [shared], frames
    whole.NumberOfFrames = len(frames)
    return whole
