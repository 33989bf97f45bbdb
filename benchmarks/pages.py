"""What was measured, as pages: the first table, which is made of the measures, and all others.

    pages.put_into(pathlib.Path("docs/benchmarks.md"), results)
    print(pages.compared(before, after))

`results` are what `python -m benchmarks --json` writes.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks import measure
from benchmarks.measure import Table

WAITED_FOR = "what a job and a migration wait for"
_BEGIN, _END = "<!-- benchmarks: begin -->\n", "<!-- benchmarks: end -->\n"
_BLOCK = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)


def page(results: dict[str, Any]) -> str:
    """Returns all that was measured as Markdown; what is waited for comes first."""
    tables = [waited_for(results), *(table["text"] for table in results["tables"])]
    return "\n".join([described(results), *filter(None, tables)])


def described(results: dict[str, Any]) -> str:
    """Says what machine the numbers are of."""
    machine = results["machine"]
    memory = measure.size(machine["memory"])
    command = "python -m benchmarks" + (" --quick" if results["quick"] else "")
    return (
        f"From `{command}`, {results['seconds'] / 60:.0f} minutes on {machine['cores']} cores "
        f"({machine['cpu']}), {memory}, {machine['system']}, Python {machine['python']}, "
        f"TensorFlow {machine['tensorflow']}.\n"
    )


def waited_for(results: dict[str, Any]) -> str:
    """Returns the table of the measures, or nothing where none was made."""
    found = measures(results)
    table = Table(
        WAITED_FOR,
        "`of that` is the ratio to what stands beside it; `wanted` is what it (if nothing stands "
        "beside it, what was measured) should be at most. The limit is what the machine itself "
        "needed in the same run for the least that has to be done, with nothing of TensorFlow or "
        "of this library.",
        ("what", "beside", "measured", "of that", "wanted", "the machine's limit", "of the limit"),
    )
    for each in found:
        limit = each["limit"]
        table.rows.append(
            (
                each["name"],
                each["of"],
                each["took"]["text"],
                _text(each["ratio"]),
                f"<= {each['wanted']['text']}" if each["wanted"] else "",
                f"{limit['text']}, {each['limit_of']}" if limit else "",
                measure.share(each["took"]["value"] / limit["value"]) if limit else "",
            )
        )
    return table.markdown() if found else ""


def measures(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the measures of all tables, in their order."""
    return [each for table in results["tables"] for each in table.get("measures", ())]


def missed(results: dict[str, Any]) -> Iterator[str]:
    """Says which measures are not what is wanted."""
    for each in measures(results):
        found = each["ratio"] or each["took"]
        if each["wanted"] and found["value"] > each["wanted"]["value"]:
            yield f"{each['name']}: {found['text']}, wanted <= {each['wanted']['text']}"


def put_into(target: pathlib.Path, results: dict[str, Any]) -> None:
    """Puts the tables between the markers of a page."""
    text = target.read_text(encoding="utf-8")
    if not _BLOCK.search(text):
        sys.exit(f"{target} has no lines {_BEGIN.strip()} and {_END.strip()}")
    made = _BEGIN + page(results) + _END
    target.write_text(_BLOCK.sub(lambda _: made, text), encoding="utf-8")


def without_tables(text: str) -> str:
    """Returns a page without what is between its markers."""
    return _BLOCK.sub("", text)


def compared(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Returns each number of both results side by side: of the measures, and of the tables' rows.

    What a machine does at another time is another machine's, so what tells most are the ratios.
    """
    earlier = _numbers(before)
    rows = [
        (*key, then["text"], now["text"], _change(then["value"], now["value"]))
        for key, now in _numbers(after).items()
        if (then := earlier.get(key))
    ]
    title = "before and after"
    note = f"Before: {_of(before)}. After: {_of(after)}."
    return Table(
        title, note, ("what", "number", "before", "after", "after / before"), rows
    ).markdown()


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the results of a --json, or the tables of a page, such as that of an older commit."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return json.loads(text)  # type: ignore[no-any-return]
    found = re.search(r"TensorFlow ([\w.]+)\.\n", text)
    tables = [
        {
            "title": title,
            "columns": lines[0],
            "rows": [[_cell(cell) for cell in line] for line in lines[2:]],
        }
        for title, body in _TABLE.findall(text)
        for lines in [[line[2:-2].split(" | ") for line in body.splitlines()]]
    ]
    return {"machine": {"tensorflow": found[1] if found else "?"}, "tables": tables}


_TABLE = re.compile(r"^\*\*(.+?)\.\*\*.*\n\n((?:\|.*\n)+)", re.MULTILINE)
_QUANTITY = re.compile(r"([\d,]+(?:\.\d+)?) ?(s|ms|µs|GB|MB|kB|B|x|)")
_UNITS = {"s": 1, "ms": 1e-3, "µs": 1e-6, "GB": 2**30, "MB": 2**20, "kB": 2**10}


def _cell(text: str) -> Any:
    """Returns a cell as --json has it: what reads like a quantity with a unit or a point is one."""
    found = _QUANTITY.fullmatch(text)
    if not found or not (found[2] or "." in text) or re.fullmatch(r"\d+ [GM]B", text):
        return text
    return {"value": float(found[1].replace(",", "")) * _UNITS.get(found[2], 1), "text": text}


def _numbers(results: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns each number by what it is of: its row, and its column."""
    found = {}
    for table in results["tables"]:
        for row in table["rows"]:
            names = _label(itertools.takewhile(lambda cell: isinstance(cell, str), row))
            for column, cell in zip(table["columns"], row):
                if isinstance(cell, dict):
                    found[f"{table['title']}: {names}", column] = cell
    for each in measures(results):
        for name, column in (("took", "measured"), ("ratio", "of that")):
            if each[name]:
                found[f"{WAITED_FOR}: {_label((each['name'], each['of']))}", column] = each[name]
    return found


def _label(cells: Iterable[str]) -> str:
    return ", ".join(filter(None, cells))


def _change(before: float, after: float) -> Any:
    return measure.share(after / before) if before else ""


def _of(results: dict[str, Any]) -> str:
    machine = results["machine"]
    load = f", load {machine['busy']:.1f} at the start" if "busy" in machine else ""
    return f"TensorFlow {machine['tensorflow']}{load}"


def _text(cell: dict[str, Any] | None) -> str:
    return cell["text"] if cell else ""
