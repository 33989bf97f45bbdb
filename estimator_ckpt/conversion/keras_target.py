"""Writes a checkpoint's values as a file of Keras, for a live model, which is not changed.

    convert("old_job", "m.weights.h5", like=model)          # or "m.keras"

Keras itself writes the model as it is, so that all but the values is of its making; then each value
takes its place in that file. The plan is that of a conversion to the model's objects.
"""

from __future__ import annotations

import functools
import os
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from estimator_ckpt.checkpoint import Checkpoint, arrays, open_checkpoint
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.fitting import misfit
from estimator_ckpt.checkpoint.identity import other_file
from estimator_ckpt.checkpoint.keras_file import WEIGHTS_MEMBER
from estimator_ckpt.checkpoint.keras_writing import fill, write_archive
from estimator_ckpt.checkpoint.one_file import require_free_file, write_whole
from estimator_ckpt.checkpoint.opening import ARCHIVE_SUFFIX
from estimator_ckpt.conversion.added import Int32
from estimator_ckpt.conversion.planning import Conversion
from estimator_ckpt.conversion.report import ConversionReport, DroppedKey, KeyChange
from estimator_ckpt.errors import CheckpointArgumentError, VariableMismatchError
from estimator_ckpt.messages import listed
from estimator_ckpt.storage import files
from estimator_ckpt.storage.files import Progress

_AMBIGUOUS = "several variables are: give their layers names of their own"
_NO_PLACE = "Keras' files have no place for it"


def convert_to_keras(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    planned: Callable[[Account], Conversion],
    like: object,
    *,
    names: str,
    overwrite: bool,
    dry_run: bool,
    progress: Progress | None,
) -> ConversionReport:
    """Writes a file of Keras.

    Args:
      source: a checkpoint in any format.
      target: the file, as `is_keras_target` knows it.
      planned: makes the plan for the objects of `like`.
      like: a Keras model that is built, or what has one among its objects.
      names: how tensors are called, "auto" or "path".
      overwrite: whether `target` may be replaced.
      dry_run: only say what would be done.
      progress: called with (target, bytes written, bytes in all).

    Returns:
      What was done.

    Raises:
      CheckpointError: as `convert`.
    """
    if like is None:
        raise CheckpointArgumentError(
            f"'{os.fsdecode(target)}' is a file of Keras, in which a model tells what is where: "
            "give like=model; or, if the names are such places already, as those of a converted "
            ".weights.h5 are, use `estimator-ckpt export`"
        )
    checkpoint = open_checkpoint(source)
    path = other_file(target, source, checkpoint)
    require_free_file(path, overwrite)
    account = Account(checkpoint, names)
    conversion = planned(account)
    if conversion.checkpoint is not None:  # one with changed values
        checkpoint = conversion.checkpoint
        account = Account(checkpoint, names)
    model, places, beyond = _places(like, account)
    sources = {places[key]: old for key, old in conversion.sources.items() if key in places}
    sources.update(beyond)
    added = {
        places[key]: _count_bytes(value)
        for key, value in conversion.added.items()
        if key in places and isinstance(value, int)
    }
    if not sources:
        raise CheckpointArgumentError(
            f"nothing of '{checkpoint.prefix}' has a place in a file of this "
            f"{type(model).__name__}; build it first"
        )
    written = 0
    if dry_run:
        files.require_place(path)
    else:
        values = {place: _bytes_of(checkpoint, old) for place, old in sources.items()}
        values.update({place: functools.partial(iter, (data,)) for place, data in added.items()})
        total = sum(checkpoint.index.entries[old].bytes for old in sources.values())
        _write(path, model, values, progress, total)
        written = files.size(path)
    own = sorted(set(places.values()) - {*sources, *added})
    notes = list(conversion.notes)
    if own:
        notes.append(f"as they are in the model, as the checkpoint has none: {listed(own)}")
    homeless = set(conversion.sources.values()) - set(sources.values())
    dropped = [*conversion.dropped, *(DroppedKey(key, _NO_PLACE) for key in sorted(homeless))]
    return ConversionReport(
        path,
        "keras",
        tuple(KeyChange(old, place) for place, old in sorted(sources.items())),
        tuple(dropped),
        tuple(sorted(added)),
        0,
        0,
        written,
        tuple(notes),
        dry_run=dry_run,
    )


def _places(like: object, account: Account) -> tuple[Any, Mapping[str, str], dict[str, str]]:
    """Returns the model, {key of its objects: place}, and {place: key here} of what has no key."""
    from estimator_ckpt.live.objects import (  # TensorFlow
        LiveObjects,
        dtype_of,
        shape_of,
        variable_in,
    )

    key_of = account.key_of

    keras = LiveObjects(like).keras
    if keras.model is None:
        raise CheckpointArgumentError(
            f"a file of Keras is written like a Keras model; a {type(like).__name__} has none"
        )
    weights = keras.model.weights if keras.beyond else ()
    shared = Counter(map(_path, weights))
    beyond: dict[str, str] = {}
    wrong = []
    for place, variable in keras.beyond.items():
        names = (place, *([_path(variable)] if shared[_path(variable)] == 1 else ()))
        found = next((name for name in names if name in key_of), None)
        if found is not None:
            held = variable_in(variable)
            reason = misfit(account.entry(found), shape_of(held), dtype_of(held))
            beyond[place] = key_of[found]
        else:
            reason = f"nothing is called so, or {_AMBIGUOUS}" if shared[_path(variable)] else None
        if reason is not None:
            wrong.append(f"'{_path(variable)}' ({place}): {reason}")
    if wrong:
        raise VariableMismatchError(f"nothing was written: {listed(wrong)}")
    return keras.model, keras.of_key, beyond


def _path(variable: Any) -> str:
    return str(getattr(variable, "path", None) or variable.name.partition(":")[0])


def _count_bytes(value: int) -> bytes:
    return value.to_bytes(4 if isinstance(value, Int32) else 8, "little", signed=True)


def _bytes_of(checkpoint: Checkpoint, key: str) -> Callable[[], Iterable[bytes]]:
    entry = checkpoint.index.entries[key]
    return lambda: (chunk.tobytes() for chunk in arrays.array_chunks(checkpoint, entry))


def _write(
    path: str,
    model: Any,
    values: Mapping[str, Callable[[], Iterable[bytes]]],
    progress: Progress | None,
    total: int,
) -> None:
    def tell(done: int) -> None:
        if progress:
            progress(path, done, total)

    with tempfile.TemporaryDirectory(prefix="estimator_ckpt_") as scratch:
        weights = os.path.join(scratch, WEIGHTS_MEMBER)
        template = os.path.join(scratch, "model.keras")
        is_archive = path.endswith(ARCHIVE_SUFFIX)
        if is_archive:
            model.save(template)
            with zipfile.ZipFile(template) as archive:
                archive.extract(WEIGHTS_MEMBER, scratch)
        else:
            model.save_weights(weights)
        fill(weights, values, tell)

        def write(file: files.WritableFile) -> None:
            if is_archive:
                write_archive(file, template, weights)
                return
            for chunk in files.read_chunks(weights, 0, os.path.getsize(weights)):
                file.write(chunk)

        write_whole(path, write)
