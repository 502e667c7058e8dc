"""The page's look beside its style sheet."""

from pathlib import Path

import gradio as gr

CSS = sorted(Path(__file__).resolve().parent.glob("*.css"))


def theme() -> gr.themes.Base:
    """Slate and teal in the system's own fonts: nothing is fetched."""
    own = gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="sm", font=["sans-serif"])
    own.font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
    # Gradio's own choices, slate 400 for small print and teal 500 for what can be pressed, are too faint to
    # read on white, or for white words on them.
    return own.set(
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_500",
        color_accent="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_border_color="*primary_700",
        button_primary_border_color_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_border_color_dark="*primary_700",
        button_primary_border_color_hover_dark="*primary_800",
        button_primary_text_color="white",
        slider_color_dark="*primary_500",
        checkbox_background_color_selected_dark="*primary_500",
        checkbox_border_color_selected_dark="*primary_500",
    )
