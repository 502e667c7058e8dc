"""How errors reach a visitor: in words on the page, and as a short announcement."""

from html import escape

import gradio as gr

#: Title and message, see `lgg.report.explain`.
Trouble = tuple[str, str]


def refusal(title: str, message: str) -> gr.Error:
    """Gradio renders messages as HTML, and these hold the names of uploaded files."""
    return gr.Error(escape(message, quote=False), title=title, duration=5, print_exception=False)


def tell(trouble: Trouble | None) -> None:
    """Announce an error, in a step without outputs: Gradio would mark them as failed."""
    if trouble is not None:
        raise refusal(*trouble)
