"""Chooses variables by regular expressions on their names.

    chosen = NameFilter(include="^dnn/", exclude="Adam")
    chosen("dnn/kernel"), chosen("dnn/kernel/Adam")       # True, False
    chosen.checked(names)                                 # refuses a pattern that is in no name

A name is all that counts: the slots of a variable don't follow it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.messages import near

UNWANTED = "not asked for (include, exclude)"
"""Why a variable that isn't chosen is left out, or left as it is."""
_ALL = ".*"


class NameFilter:
    """Says whether a variable is asked for, by its name.

    Args:
      include: regular expressions; one of them has to be found in the name.
      exclude: regular expressions; none of them may be.
      always: names that need not be included, only not excluded.

    Raises:
      CheckpointArgumentError: one is no regular expression.
    """

    def __init__(
        self,
        include: str | Sequence[str] = _ALL,
        exclude: str | Sequence[str] | None = None,
        *,
        always: Collection[str] = (),
    ):
        self._include = compiled(include)
        self._exclude = compiled(exclude or ())
        self._always = frozenset(always)

    def __call__(self, name: str) -> bool:
        """Returns whether the variable of this name is asked for."""
        included = name in self._always or any(each.search(name) for each in self._include)
        return included and not self.excludes(name)

    def excludes(self, name: str) -> bool:
        """Returns whether the variable of this name is one that is not to be touched."""
        return any(each.search(name) for each in self._exclude)

    @property
    def takes_all(self) -> bool:
        """Whether it is the filter of someone who asked for nothing in particular."""
        return not self._exclude and [each.pattern for each in self._include] == [_ALL]

    def checked(self, names: Collection[str]) -> NameFilter:
        """Returns this filter if it fits the names that there are.

        Args:
          names: of all variables.

        Raises:
          CheckpointArgumentError: a pattern is found in none of them.
        """
        if not self.takes_all:
            for pattern in (*self._include, *self._exclude):
                matching(pattern, names)
        return self

    def require_found(self, names: Collection[str], noun: str = "variable") -> None:
        """Makes sure that what is asked for is there.

        Args:
          names: of all that there is.
          noun: what is called so.

        Raises:
          CheckpointArgumentError: a pattern to include is found in none of them.
        """
        for pattern in self._include:
            if pattern.pattern != _ALL:
                matching(pattern, names, noun)


def everything(name: str) -> bool:
    """Chooses each variable."""
    return True


def compiled(patterns: str | Iterable[str]) -> list[re.Pattern[str]]:
    """Compiles regular expressions, or a single one.

    Raises:
      CheckpointArgumentError: one is no regular expression.
    """
    found = []
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        try:
            found.append(re.compile(pattern))
        except re.error as error:
            raise CheckpointArgumentError(
                f"'{pattern}' is no regular expression: {error}"
            ) from error
    return found


def matching(pattern: re.Pattern[str], names: Collection[str], noun: str = "variable") -> list[str]:
    """Returns the names in which a regular expression is found, in their order.

    Raises:
      CheckpointArgumentError: there is none; the message has near names.
    """
    found = [name for name in names if pattern.search(name)]
    if not found:
        raise CheckpointArgumentError(
            f"the pattern '{pattern.pattern}' matches no {noun}{near(pattern.pattern, names)}"
        )
    return found
