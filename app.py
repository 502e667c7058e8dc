"""Opens the page: `python app.py`, and what a Hugging Face Space runs. The page itself is `lgg.app`."""

from lgg.app import CSS, build_page, theme
from lgg.app.models import load_models

#: Far above any slice of a scanner; between this and `lgg.io.MAX_BYTES` lie films and attacks.
MAX_UPLOAD = "64mb"


def main() -> None:
    """Load the models and serve the page; Gradio's own environment variables say where."""
    build_page(load_models()).launch(
        theme=theme(),
        css_paths=CSS,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
    )


if __name__ == "__main__":
    main()
