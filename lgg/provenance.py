"""What the page says about its weights: which they are, and why they are not others."""

from html import escape

from lgg.shelf import Shelf
from lgg.source import Source

#: Digits of a commit that people compare.
SHORT = 7


def name(source: Source) -> str:
    """Name and commit: `user/lgg at revision 0123abc`."""
    return f"{source.name} at revision {source.revision[:SHORT]}" if source.revision else source.name


def origin_html(shelf: Shelf) -> str:
    """Name, revision and the day on which each training ended, for the page's foot."""
    if not shelf.cascades:
        return ""
    configs = [one.config for one in shelf.cascades.values()]
    dates = sorted({one.date for one in configs if one.date})
    trained = f", trained until {dates[-1]}" if dates else ""
    return f'<p class="hint" id="origin">Weights: {escape(name(shelf.source))}{trained}.</p>'


def banner_html(shelf: Shelf) -> str:
    """Why the page does not run what it was told to, or not all of it; "" where it does."""
    if not shelf.warning:
        return ""
    return (
        '<section class="verdict error" role="alert"><h2>Other weights than intended</h2>'
        f"<p>{escape(shelf.warning)} Until then the page runs {escape(name(shelf.source))}.</p></section>"
    )
