"""Converts checkpoints between TF1 and TF2 by rewriting the index; no tensor is read.

    report = convert("model_dir", "converted/model.ckpt-10", to="tf2")
    print(report)

`tf1` is name-based, `tf2` object-based; a `dual` checkpoint has both sets of keys, on the same
bytes. The data files of the source are hard-linked where the file system can, else copied.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.opening import is_keras_target
from estimator_ckpt.conversion.committing import apply
from estimator_ckpt.conversion.planning import UNMAPPED, Conversion, fitted, plan
from estimator_ckpt.conversion.report import ConversionReport
from estimator_ckpt.errors import CheckpointArgumentError
from estimator_ckpt.storage.files import Progress


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    to: str | None = None,
    rename: naming.Rules = None,
    drop: Iterable[str] = (),
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    averages: str | None = None,
    container: str | None = None,
    step: str | None = "step",
    like: object = None,
    names: str = "auto",
    overwrite: bool = False,
    copy: bool = False,
    compact: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Converts a checkpoint to a format, or changes its names, without reading a tensor.

    Args:
      source: a checkpoint's prefix, or a model_dir (its latest checkpoint), in any format.
      target: the prefix of the new checkpoint; or, with `like`, a file of Keras, which ends in
        `.weights.h5` or `.keras`. Directories are made as needed.
      to: "tf1" (name-based), "tf2" (object-based) or "dual" (readable as both); None for the
        format of the source.
      rename: old to new names or scopes, the text of rules (`RenameRules`), or a map
        (`propose_map`): what it does not map then goes into no object of `like`. Slots and averages
        follow their variable; the global step keeps its name unless it is named itself.
      drop: regular expressions; variables in whose new name one is found are left out.
      include: regular expressions; a variable is taken if one is found in its name in the source,
        and so is the global step in any case. Slots have names of their own.
      exclude: regular expressions; a variable is not taken if one is found in that name.
      averages: what averages have behind the variable's name and a `/`, as
        "ExponentialMovingAverage": each variable that has such an average gets its bytes, the
        report's `notes` name the others. None for all as it is.
      container: for tf2 and dual, the attribute of the root object that holds the variables by
        name; `Checkpoint(var_list={name: variable})` by default. A source that is object-based
        keeps its own layout unless a container is given.
      step: for tf2 and dual, the attribute that holds the global step; None leaves it in the
        container as `global_step`.
      like: for tf2 and dual, a live `tf.train.Checkpoint`, module or Keras model that is built: the
        target has exactly the keys that it would save, each from the variable of that name, slots
        of optimizers from the corresponding ones. What it does not have is dropped.
      names: "auto": tensors are called by name, and by their path among the objects (such as
        `model/dense/kernel`) where they have no name of their own; "path": all by their paths.
      overwrite: whether `target` may be replaced.
      copy: copy the data files even where they could be linked.
      compact: copy only the bytes that the target uses, instead of linking whole data files.
      dry_run: only say what would be done, write nothing.
      progress: called with (path, bytes done, bytes in all) while data files are copied.

    Returns:
      What was done.

    Raises:
      CheckpointNotFoundError: there is no checkpoint at `source`.
      DamagedCheckpointError: the source is damaged or incomplete.
      NameClashError: two tensors would get the same name.
      CheckpointExistsError: `target` exists and `overwrite` is false.
      CheckpointWriteError: the file system refused to write the target.
      VariableMismatchError: `like` has a variable that the source lacks or has in another shape.
      CheckpointArgumentError: an argument is unusable, or a pattern or rule matches no variable.
    """
    is_keras = is_keras_target(target)
    if is_keras and to not in (None, "tf2"):
        raise CheckpointArgumentError(
            f"to='{to}' is a format of checkpoints, and '{os.fsdecode(target)}' a file of Keras; "
            "leave it out, or give another target"
        )
    planned = planner(
        to="tf2" if is_keras else to,
        rename=rename,
        drop=drop,
        include=include,
        exclude=exclude,
        averages=averages,
        container=container,
        step=step,
        like=like,
    )
    if is_keras:
        from estimator_ckpt.conversion.keras_target import convert_to_keras  # it needs numpy

        return convert_to_keras(
            source,
            target,
            planned,
            like,
            names=names,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=progress,
        )
    return apply(
        source,
        target,
        planned,
        names=names,
        overwrite=overwrite,
        copy=copy,
        compact=compact,
        dry_run=dry_run,
        progress=progress,
    )


def planner(
    *,
    to: str | None = None,
    rename: naming.Rules = None,
    drop: Iterable[str] = (),
    include: str | Sequence[str] = ".*",
    exclude: str | Sequence[str] | None = None,
    averages: str | None = None,
    container: str | None = None,
    step: str | None = "step",
    like: object = None,
) -> Callable[[Account], Conversion]:
    """Turns what is asked of a conversion into what plans it for any checkpoint.

    Args are those of `convert`.

    Raises:
      CheckpointArgumentError: an argument is unusable.
    """
    if like is not None and (container is not None or to == "tf1"):
        raise CheckpointArgumentError(
            "like= gives the layout of objects: it goes with to='tf2' or to='dual', "
            "and not with container="
        )
    patterns = tuple(drop)
    wanted = naming.NameFilter(include, exclude, always=(naming.GLOBAL_STEP,))

    rules = naming.rename_rules(rename)

    def edit(account: Account, rules: naming.RenameRules) -> naming.Edit:
        changed = naming.Edit.nothing(account.key_of)
        if averages is not None:
            changed = naming.averages(account.roles, suffix=averages)
        chosen = wanted.checked(changed.names)
        changed = changed.then(lambda names: naming.choose(names, chosen))
        if rules:
            roles = account.roles
            if like is not None and rules.variable_map is not None:
                changed = changed.then(
                    lambda names: naming.choose(
                        names,
                        lambda name: rules.offers(name, roles[name]) or name in rules.dropped,
                        UNMAPPED,
                    )
                )
            changed = changed.then(lambda names: naming.rename(names, rules, roles=roles))
        return changed.then(lambda names: naming.drop(names, patterns)) if patterns else changed

    def planned(account: Account) -> Conversion:
        account, left = fitted(rules, account, like)
        return plan(
            account,
            to,
            edit=(lambda held: edit(held, left)) if edits else None,
            layout=layout,
            default=naming.Layout(step=step),
            like=like,
        )

    edits = averages is not None or rules or patterns or not wanted.takes_all
    layout = None if container is None else naming.Layout(container, step)
    return planned
