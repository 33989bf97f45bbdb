"""The verbs of `estimator-ckpt`, a module each; a module that is put here is a command.

Synopsis:

    VERBS["convert"].main(["job", "new/ckpt", "--to=tf2"])    # loads that verb only
    sorted(VERBS)                                             # their names, none is loaded

A verb is called as its module is, without a final `_` (`import_`, `map_`); it is the module's
`COMMAND`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from estimator_ckpt.cli.command import Command


class Verbs(Mapping[str, Command]):
    """The commands by name; each is loaded when it is asked for, as few of them are in a run."""

    def __init__(self) -> None:
        self._modules = {
            module.name.rstrip("_").replace("_", "-"): f"{__name__}.{module.name}"
            for module in pkgutil.iter_modules(__path__)
        }

    def __getitem__(self, name: str) -> Command:
        command: Command = importlib.import_module(self._modules[name]).COMMAND
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules


VERBS = Verbs()
