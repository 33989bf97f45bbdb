"""Rules for new names as command lines and flagfiles have them: text, or the name of a file.

    load_rules(["old/=new/", "@rules.txt"])
    load_rules("@rules.txt")

The grammar is that of `estimator_ckpt.naming.rules`; `str()` of the rules is what a file has.
"""

from __future__ import annotations

from collections.abc import Iterable

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.naming.rules import RenameRules, Rule, parse_rules
from estimator_ckpt.storage import files

_FILE = "@"


def load_rules(texts: str | Iterable[str]) -> RenameRules:
    """Makes rules from texts and files.

    Args:
      texts: each is a rule `FROM=TO`, or `@` and the path of a file of them, one a line.

    Returns:
      All the rules, in order.

    Raises:
      CheckpointArgumentError: a rule is unusable, or a file can't be read; the message has its name
        and the number of the line.
    """
    rules: list[Rule] = []
    for text in (texts,) if isinstance(texts, str) else texts:
        path = text[len(_FILE) :] if text.startswith(_FILE) else None
        try:
            rules += parse_rules(text if path is None else _read(path)).rules
        except CheckpointArgumentError as error:
            raise (
                error if path is None else CheckpointArgumentError(f"'{path}': {error}")
            ) from error
    return RenameRules(tuple(rules))


def _read(path: str) -> str:
    if not files.exists(path) or files.is_directory(path):
        raise CheckpointArgumentError(
            "there is no such file of rules; it has a line FROM=TO for each"
        )
    try:
        return files.read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointArgumentError(f"it is no text: {error}") from error
