"""A table as HTML that scrolls by itself on a narrow screen, with the keyboard too."""

from collections.abc import Sequence
from html import escape


def table_html(label: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table; its first column names the rows.

    Args:
        label: what the table is, for those who cannot see it.
        head: the columns' names.
        rows: their texts; a row that is too short spreads its first value over what is left, and what stands
            in brackets at a text's end is printed small.
    """
    top = "".join(f'<th scope="col">{escape(one)}</th>' if one else "<td></td>" for one in head)
    lines = []
    for first, *rest in rows:
        wide = f' colspan="{len(head) - len(rest)}"' if len(rest) + 1 < len(head) else ""
        cells = "".join(f"<td{wide}>{_text(one)}</td>" for one in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _text(text: str) -> str:
    before, bracket, after = text.partition(" (")
    return escape(before) + (f" <small>({escape(after)}</small>" if bracket else "")
