"""What is done with one model_dir, and the row that says what came of it.

    row = work("convert", ModelDir("jobs/a", "out/a"), {"to": "tf2"})
    row.status, row.problem

A directory with a state file stands for all checkpoints that this lists. Whatever goes wrong is in
the row: it is never raised, but for what `may_pass` if that is asked for.
"""

from __future__ import annotations

import errno
import inspect
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from estimator_ckpt import naming
from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.opening import find_listed, index_path, read_state
from estimator_ckpt.conversion.converting import convert, planner
from estimator_ckpt.conversion.model_dir import convert_all
from estimator_ckpt.conversion.planning import require_format
from estimator_ckpt.errors import CheckpointArgumentError, CheckpointError
from estimator_ckpt.fleet.listing import ModelDir
from estimator_ckpt.messages import listed, plain
from estimator_ckpt.operations.describe import described
from estimator_ckpt.operations.diff import diff
from estimator_ckpt.operations.doctor import doctor
from estimator_ckpt.operations.verify import verify
from estimator_ckpt.storage import files

STATUSES = ("done", "planned", "skipped", "no", "failed")


@dataclass(frozen=True)
class ModelDirReport:
    """What came of one model_dir: a row of a report.

    Attributes:
      model_dir: which.
      target: where to, or what it was compared with; None for other verbs.
      verb: "convert", "verify", "doctor" or "diff".
      status: "done" (converted; undamaged; healthy; equal), "planned" (a dry run), "skipped" (the
        target was there already, and equal), "no" (damaged; something to mend; different) or
        "failed" (it could not be done).
      problem: why it failed, or the first things that are wrong; None where all is well.
      error: the name of the error's class, if it failed by one.
      checkpoints: how many were looked at.
      formats: theirs, or those that were written; each once.
      step: the global step of the latest, where `doctor` has looked.
      bytes: of data linked, copied and written (convert), checked (verify) or there (doctor).
      seconds: how long it took.
      details: a dict for each checkpoint or finding, by verb.
    """

    model_dir: str
    target: str | None
    verb: str
    status: str
    problem: str | None = None
    error: str | None = None
    checkpoints: int = 0
    formats: tuple[str, ...] = ()
    step: int | None = None
    bytes: int = 0
    seconds: float = 0.0
    details: tuple[Mapping[str, Any], ...] = ()


def work(
    verb: str,
    model_dir: ModelDir,
    options: Mapping[str, Any],
    raises: Callable[[BaseException], bool] = lambda error: False,
) -> ModelDirReport:
    """Does one model_dir.

    Args:
      verb: a key of `VERBS`.
      model_dir: which.
      options: for the verb's function.
      raises: says of an error whether it is raised, not reported.

    Returns:
      The row.
    """
    started = time.perf_counter()
    row = ModelDirReport(model_dir.source, model_dir.target, verb, "done")
    try:
        with files.looking_once():
            row = VERBS[verb](row, **options)
    except Exception as error:
        if raises(error):
            raise
        row = failed(row, error)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            raise
        row = failed(row, error)  # of a library that is not Python's; nobody may wait for this row
    return replace(row, seconds=round(time.perf_counter() - started, 6))


def failed(row: ModelDirReport, error: BaseException) -> ModelDirReport:
    """Returns the row of what could not be done."""
    problem = str(error) or type(error).__name__
    details: tuple[Mapping[str, Any], ...] = ()
    if "\t" not in row.model_dir and " " in row.model_dir and isinstance(error, FileNotFoundError):
        problem += " (in a list, a tab is between two columns, not a space)"
    if not (isinstance(error, CheckpointError) or files.is_refusal(error)):
        # Nobody has foreseen it: what it takes to mend that.
        problem = f"{type(error).__name__}: {problem}"
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        details = ({"traceback": "".join(lines)},)
    return replace(
        row, status="failed", problem=problem, error=type(error).__name__, details=details
    )


def may_pass(error: BaseException) -> bool:
    """Returns whether an error may be gone at another try: the network's, not the checkpoint's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (ConnectionError, TimeoutError, InterruptedError)):
            return True
        if isinstance(seen, OSError) and seen.errno in _PASSING:
            return True
        seen = seen.__cause__
    return False


_PASSING = frozenset(
    (
        *(errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ESTALE),
    )
)


def check_options(verb: str, options: Mapping[str, Any]) -> None:
    """Makes sure, before any work, that options are usable with whatever model_dir.

    Raises:
      CheckpointArgumentError: a value is unusable, or live objects are given.
      TypeError: there is no such option.
    """
    if options.get("like") is not None:
        raise CheckpointArgumentError(
            "like= is of one model: convert such checkpoints one by one, or give a map (rename=)"
        )
    unknown = sorted(options.keys() - _OPTIONS[verb])
    if unknown:
        raise TypeError(
            f"{verb} of many has no option '{unknown[0]}'; there are "
            f"{listed(sorted(_OPTIONS[verb]), 30)}"
        )
    if verb == "convert":
        if options.get("to") is not None:
            require_format(options["to"])
        planner(**{name: value for name, value in options.items() if name in _PLANNED})
    elif verb == "diff":
        naming.rename_rules(options.get("rename"))


def _checkpoints(path: str) -> tuple[str, ...]:
    """Returns what a path stands for: all that a state file lists, or itself."""
    if files.exists(index_path(path)) or not files.is_directory(path):
        return (path,)
    latest, found = read_state(path)
    if latest is None:
        return (path,)
    if os.path.basename(latest) not in map(os.path.basename, found):
        found = (*found, latest)
    return tuple(find_listed(path, prefix) for prefix in found)


def _convert(row: ModelDirReport, **options: Any) -> ModelDirReport:
    assert row.target is not None
    reports = convert_all(row.model_dir, row.target, resume=True, **options)
    existed = all(each.existed for each in reports)
    return replace(
        row,
        status="skipped" if existed else "planned" if reports[-1].dry_run else "done",
        checkpoints=len(reports),
        formats=_each_once(each.format for each in reports),
        bytes=sum(each.bytes_linked + each.bytes_copied + each.bytes_written for each in reports),
        details=tuple(
            {
                "prefix": each.prefix,
                "existed": each.existed,
                "keys": len(each.keys),
                "bytes_linked": each.bytes_linked,
                "bytes_copied": each.bytes_copied,
                "bytes_written": each.bytes_written,
                "dropped": plain(each.dropped),
                "notes": plain(each.notes),
            }
            for each in reports
        ),
    )


def _inspect(
    row: ModelDirReport, *, wanted: Callable[[str], bool] | None = None, names: str = "auto"
) -> ModelDirReport:
    found = described(open_account(row.model_dir, names))
    if wanted is not None:
        found = found.only(wanted)
    return replace(
        row,
        checkpoints=len(_checkpoints(row.model_dir)),
        formats=(found.format,),
        step=found.step,
        bytes=found.bytes,
        details=({part: plain(total) for part, total in found.totals.items()},),
    )


def _verify(row: ModelDirReport, **options: Any) -> ModelDirReport:
    found = [verify(prefix, **options) for prefix in _checkpoints(row.model_dir)]
    findings = [finding for each in found for finding in each.findings]
    return _answered(
        replace(row, checkpoints=len(found), bytes=sum(each.bytes for each in found)),
        [f"{os.path.basename(each.file)}: {each.problem}" for each in findings],
        findings,
    )


def _doctor(row: ModelDirReport, *, wanted: Callable[[str], bool] | None = None) -> ModelDirReport:
    found = doctor(row.model_dir)
    if wanted is not None:
        found = found.only(wanted)
    wrong = [each for each in found.findings if each.severity != "note"]
    return _answered(
        replace(
            row,
            checkpoints=len(found.checkpoints),
            formats=_each_once(each.format for each in found.checkpoints if each.format),
            step=next((each.step for each in found.checkpoints if each.state == "latest"), None),
            bytes=sum(each.bytes for each in found.checkpoints),
        ),
        [f"{each.severity}: {each.subject}: {each.problem}" for each in wrong],
        found.findings,
    )


def _diff(row: ModelDirReport, **options: Any) -> ModelDirReport:
    assert row.target is not None
    pairs, problems = _pairs(row.model_dir, row.target)
    found = [diff(first, second, **options) for first, second in pairs]
    different = [each for each in found if not each.same]
    for each in different:
        kinds = Counter(change.kind for change in each.changes)
        said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        problems.append(f"{os.path.basename(each.first)}: {said}")
    return _answered(
        replace(row, checkpoints=len(found), formats=_each_once(each.formats[0] for each in found)),
        problems,
        different,
    )


def _pairs(first: str, second: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Returns the checkpoints to compare, by their names, and what has no other one."""
    ones, others = _checkpoints(first), _checkpoints(second)
    if ones == (first,) or others == (second,):
        return [(first, second)], []
    by_name = {os.path.basename(prefix): prefix for prefix in others}
    names = [os.path.basename(prefix) for prefix in ones]
    pairs = [(one, by_name[name]) for name, one in zip(names, ones) if name in by_name]
    lacking = [f"{name}: '{second}' lacks it" for name in names if name not in by_name]
    lacking += [f"{name}: '{first}' lacks it" for name in by_name if name not in names]
    return pairs, lacking


def _answered(
    row: ModelDirReport, problems: Sequence[str], details: Sequence[object]
) -> ModelDirReport:
    return replace(
        row,
        status="no" if problems else "done",
        problem=listed(problems, 3) if problems else None,
        details=tuple(map(plain, details)),
    )


def _each_once(formats: Iterator[str]) -> tuple[str, ...]:
    return tuple(sorted(set(formats)))


VERBS: dict[str, Callable[..., ModelDirReport]] = {
    "convert": _convert,
    "inspect": _inspect,
    "verify": _verify,
    "doctor": _doctor,
    "diff": _diff,
}
TARGETED = frozenset(("convert", "diff"))
"""The verbs that take two paths."""
_PLANNED = frozenset(inspect.signature(planner).parameters)
_FUNCTIONS: dict[str, Callable[..., Any]] = {"convert": convert, "verify": verify, "diff": diff}
_OPTIONS = {
    verb: frozenset(inspect.signature(function).parameters)
    - {"source", "target", "a", "b", "checkpoint", "progress", "like"}
    for verb, function in _FUNCTIONS.items()
}
_OPTIONS["inspect"] = frozenset(("wanted", "names"))
_OPTIONS["doctor"] = frozenset(("wanted",))
