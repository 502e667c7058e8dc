"""The page's look beside its style sheet."""

from pathlib import Path

import gradio as gr

CSS = sorted(Path(__file__).resolve().parent.glob("*.css"))


def theme() -> gr.themes.Base:
    """Slate and teal in the system's own fonts: nothing is fetched."""
    own = gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="sm", font=["sans-serif"])
    own.font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
    # Slate 400, Gradio's choice for small print, is too faint on white.
    return own.set(body_background_fill="*neutral_50", body_text_color_subdued="*neutral_500")
