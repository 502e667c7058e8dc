"""Opens the page: `python app.py`, and what a Hugging Face Space runs. The page itself is `lgg.app`."""

from lgg.app import open_page

if __name__ == "__main__":
    open_page()
