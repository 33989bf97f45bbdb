"""Rules for new names as command lines and flagfiles have them: text, or the name of a file.

    load_rules(["old/=new/", "@rules.txt"])
    load_rules("@rules.txt")
    load_rules("@map.txt")                        # what `estimator-ckpt map` has written

The grammar is that of `estimator_ckpt.naming.rules`; `str()` of the rules is what a file has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.rules import RenameRules, Rule, parse_rules
from estimator_ckpt.storage import files

if TYPE_CHECKING:
    from estimator_ckpt.naming.variable_map import VariableMap

_FILE = "@"


def load_rules(texts: str | Iterable[str]) -> RenameRules:
    """Makes rules from texts and files.

    Args:
      texts: each is a rule `FROM=TO`, or `@` and the path of a file of them, one a line, or of a
        map of variables, which has to be the only one.

    Returns:
      All the rules, in order.

    Raises:
      CheckpointArgumentError: a rule is unusable, a file can't be read, or there are rules beside a
        map; the message has the file's name and the number of the line.
    """
    rules: list[Rule] = []
    texts = (texts,) if isinstance(texts, str) else tuple(texts)
    for text in texts:
        path = text[len(_FILE) :] if text.startswith(_FILE) else None
        try:
            content = text if path is None else _read(path)
            variable_map = None if path is None else _parse_map(content, path)
            if variable_map is not None:
                if len(texts) > 1:
                    raise CheckpointArgumentError(
                        "a map of variables goes with no other rules; edit its lines instead"
                    )
                return RenameRules.of_map(variable_map)
            rules += parse_rules(content).rules
        except CheckpointArgumentError as error:
            raise (
                error if path is None else CheckpointArgumentError(f"'{path}': {error}")
            ) from error
    return RenameRules(tuple(rules))


def load_map(path: str) -> VariableMap:
    """Reads a map of variables.

    Args:
      path: of its file.

    Returns:
      The map.

    Raises:
      CheckpointArgumentError: the file can't be read, or a line is not understood; the message has
        the file's name and the number of the line.
    """
    from estimator_ckpt.naming.variable_map import VariableMap

    try:
        return VariableMap.parse(_read(path), path)
    except CheckpointArgumentError as error:
        raise CheckpointArgumentError(f"'{path}': {error}") from error


def _parse_map(content: str, path: str) -> VariableMap | None:
    # Here, as these come with the matcher, which takes a while to load.
    from estimator_ckpt.naming.variable_map import VariableMap
    from estimator_ckpt.naming.variable_map_text import is_map

    return VariableMap.parse(content, path) if is_map(content) else None


def _read(path: str) -> str:
    if not files.exists(path) or files.is_directory(path):
        raise CheckpointArgumentError(
            "there is no such file of rules; it has a line FROM=TO for each, or is a map"
        )
    try:
        return files.read_input(path).decode("utf-8-sig")  # some editors begin files with a mark
    except UnicodeDecodeError as error:
        raise CheckpointArgumentError(f"it is no text: {error}") from error
