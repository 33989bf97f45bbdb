"""Changes the variables of a checkpoint, in its own format, by rewriting the index.

    rename("job", "renamed/model.ckpt-10", {"old_scope/": "new_scope/"})
    drop("job", "small/model.ckpt-10", slots=True)
    ema("job", "averaged/model.ckpt-10")

No tensor is read; data files are linked, so what is dropped still takes its room in them, unless
it is told to copy only what is used (`compact=True`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.conversion.committing import ApplyOptions, apply
from estimator_ckpt.conversion.planning import Conversion, fitted, plan
from estimator_ckpt.conversion.report import ConversionReport

if TYPE_CHECKING:
    from typing_extensions import Unpack


def rename(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    rules: naming.Rules,
    *,
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    container: str | None = None,
    **options: Unpack[ApplyOptions],
) -> ConversionReport:
    """Gives variables new names; their slots and averages follow them.

    Args:
      source: a checkpoint of any format.
      target: the prefix of the new checkpoint, of the same format.
      rules: old to new names, their text, or a map (`propose_map`); scopes end in `/`, `re:` starts
        a regular expression. The first that says something about a name decides; one that begins
        with `+` goes on.
      include: regular expressions; the rules are for variables in whose name one is found.
      exclude: regular expressions; they are not for variables in whose name one is found. A slot or
        an average that is excluded by its own name keeps it, which the report's `notes` say.
      container: the attribute of the root object that is to hold the variables by name; None to
        keep the source's.
      **options: `names`, `overwrite`, `copy`, `compact`, `dry_run`, `progress`, as for
        `convert`.

    Returns:
      What was done.

    Raises:
      CheckpointArgumentError: a rule is unusable, or matches nothing.
      NameClashError: two variables would get the same name.
      CheckpointError: as `convert`.
    """
    wanted = naming.NameFilter(include, exclude)
    ordered = naming.rename_rules(rules)
    layout = None if container is None else naming.Layout(container)

    def planned(account: Account) -> Conversion:
        account, left = fitted(ordered, account)
        return plan(
            account,
            edit=lambda held: naming.rename(
                held.key_of, left, wanted.checked(held.key_of), held.roles
            ),
            layout=layout,
        )

    return apply(source, target, planned, **options)


def drop(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    patterns: Iterable[str] = (),
    *,
    slots: bool = False,
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    **options: Unpack[ApplyOptions],
) -> ConversionReport:
    """Leaves variables out.

    Args:
      source: a checkpoint of any format.
      target: the prefix of the new checkpoint, of the same format and layout.
      patterns: regular expressions; a variable is left out if one is found in its name.
      slots: leave out what belongs to optimizers.
      include: regular expressions; only variables in whose name one is found may be left out.
      exclude: regular expressions; variables in whose name one is found stay.
      **options: `names`, `overwrite`, `copy`, `compact`, `dry_run`, `progress`, as for
        `convert`.

    Returns:
      What was done; `dropped` has each key with the reason.

    Raises:
      CheckpointArgumentError: a pattern is unusable or matches nothing, or nothing would be left.
      CheckpointError: as `convert`.
    """
    wanted = naming.NameFilter(include, exclude)
    gone = tuple(patterns)
    return apply(
        source,
        target,
        lambda account: plan(
            account,
            edit=lambda held: naming.drop(
                held.key_of,
                gone,
                roles=held.roles if slots else None,
                chosen=wanted.checked(held.key_of),
            ),
        ),
        **options,
    )


def ema(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    **options: Unpack[ApplyOptions],
) -> ConversionReport:
    """Puts exponential moving averages in the place of their variables.

    Args:
      source: a checkpoint of any format, with variables called `NAME/ExponentialMovingAverage`.
      target: the prefix of the new checkpoint, of the same format and layout.
      include: regular expressions; a variable gets its average if one is found in its own name.
      exclude: regular expressions; a variable stays, and its average, if one is found in it.
      **options: `names`, `overwrite`, `copy`, `compact`, `dry_run`, `progress`, as for
        `convert`.

    Returns:
      What was done.

    Raises:
      CheckpointArgumentError: there is no average, or a pattern matches nothing.
      CheckpointError: as `convert`.
    """
    wanted = naming.NameFilter(include, exclude)
    return apply(
        source,
        target,
        lambda account: plan(
            account, edit=lambda held: naming.averages(held.roles, wanted.checked(held.key_of))
        ),
        **options,
    )
