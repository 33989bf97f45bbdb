"""Results as tables of a notebook; names are escaped, and of many rows only the first are shown.

html_table("2 variables", ("name", "bytes"), [("dense/kernel", 24), ("dense/bias", 12)])
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Sequence

from estimator_ckpt.messages import escaped

ROWS = 500
"""The most rows that a table has."""


def html_table(caption: str, titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table as HTML.

    Args:
      caption: what stands above it.
      titles: of the columns.
      rows: a cell for each title. None is an empty cell, numbers are on the right.
    """
    rows = iter(rows)
    shown = list(itertools.islice(rows, ROWS))
    more = sum(1 for _ in rows)
    head = "".join(f'<th style="text-align:left">{_text(title)}</th>' for title in titles)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown)
    rest = f'<tr><td colspan="{len(titles)}">and {more:,} more</td></tr>' if more else ""
    return (
        f'<table><caption style="text-align:left">{_text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}{rest}</tbody></table>"
    )


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align:right">{value:,}</td>'
    if isinstance(value, float):
        return f'<td style="text-align:right">{value:.4g}</td>'
    return f'<td style="text-align:left">{"" if value is None else _text(value)}</td>'


def _text(value: object) -> str:
    return html.escape(escaped(value))
