"""The page's API: named endpoints for programs, with components of their own so that the page's stay free."""

from typing import Any

import gradio as gr

from lgg import report
from lgg.errors import SliceError
from lgg.page.desk import Desk
from lgg.page.messages import refusal
from lgg.page.slice_show import shown
from lgg.picture import Rgb, flair_picture, overlay
from lgg.uncertainty import agreement

NO_FILE = "No file was sent. Send one slice as TIFF, PNG, JPEG or DICOM."


class Api:
    """What programs may ask of a desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def segment(self, file: str | None, architecture: str) -> tuple[dict[str, Any], Rgb]:
        """Gate and outline one axial brain MRI slice, a TIFF, PNG, JPEG or single-frame DICOM file.

        Returns what was found, and the FLAIR with the outline. Research only, not a medical device.
        """
        try:
            if file is None:
                raise SliceError(NO_FILE)
            found = self.desk.examine(file, architecture)
            picture = overlay(flair_picture(found.one, found.prediction.head), found.prediction.mask)
            return report.as_json(found.one, found.prediction, found.cascade), shown(picture)
        except Exception as error:
            raise refusal(*report.explain(error)) from None

    def compare(self, file: str | None) -> dict[str, Any]:
        """Ask every architecture about one axial brain MRI slice.

        Returns what each found, and the mean Dice between their outlines. Research only, not a medical
        device.
        """
        try:
            if file is None:
                raise SliceError(NO_FILE)
            found = self.desk.compare(file)
            masks = [one.prediction.mask for one in found]
            return {
                "agreement": agreement(masks) if len(masks) > 1 else None,
                "architectures": {
                    one.cascade.config.architecture: report.as_json(one.one, one.prediction, one.cascade)
                    for one in found
                },
            }
        except Exception as error:
            raise refusal(*report.explain(error)) from None


def offer_api(desk: Desk, choices: list[tuple[str, str]]) -> None:
    """Add the endpoints to the page around."""
    api = Api(desk)
    with gr.Row(visible=False):
        gr.Button().click(
            api.segment,
            [gr.File(label="Slice"), gr.Radio(choices, value=desk.preferred, label="Architecture")],
            [gr.JSON(label="Report"), gr.Image(label="Overlay", format="png")],
            api_name="segment",
            concurrency_id="model",
        )
        gr.Button().click(
            api.compare,
            [gr.File(label="Slice")],
            [gr.JSON(label="Reports")],
            api_name="compare",
            concurrency_id="model",
        )
