"""Looks over a model_dir: what is in it, who can read it, what is wrong and what to do about it.

    diagnosis = doctor("model_dir")
    for finding in diagnosis.findings:
        print(finding.severity, finding.subject, finding.problem, finding.remedy)
    for row in diagnosis.checkpoints:
        print(row.name, row.format, row.tf1_saver, row.tf2_checkpoint)

Reads names, sizes, indexes and the state file; changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from estimator_ckpt.checkpoint import Checkpoint, open_checkpoint
from estimator_ckpt.checkpoint.account import Account
from estimator_ckpt.checkpoint.leftovers import replaced_shards
from estimator_ckpt.checkpoint.opening import (
    STATE_FILE,
    find_prefix,
    index_path,
    read_state,
    step_in_name,
)
from estimator_ckpt.checkpoint.ownership import (
    IDENTITY_FILE,
    OWNER_FILE,
    directories_of,
    job_of,
)
from estimator_ckpt.checkpoint.strangers import is_v1
from estimator_ckpt.errors import CheckpointNotFoundError, DamagedCheckpointError
from estimator_ckpt.messages import listed
from estimator_ckpt.naming.filters import NameFilter
from estimator_ckpt.operations.shared_room import told_of_sharing
from estimator_ckpt.shown import Shown
from estimator_ckpt.storage import files, staging

_SHARD = re.compile(r"(?P<base>.*)\.data-(?P<number>\d{5})-of-(?P<count>\d{5})")
# What TensorFlow was writing when it was stopped: the directory of shards to be merged, and the
# temporary names of an index, of a shard, of the state file and of graphs.
_LEFTOVER = re.compile(
    r".*_temp(_[0-9a-f]{32})?|.*\.tempstate\d+|(checkpoint|.*\.meta|graph\.pbtxt)\.tmp\w+"
)
_ABSOLUTE = re.compile(r'"((?:/|[^"\n]*://)[^"\n]*)"')  # in the text of a state file
# What lies in a model_dir and is no directory of its own.
_FILE_OF_JOB = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5}|pbtxt)$|^events\.out|^checkpoint$")
_NOT_WHILE_SAVING = "no job is saving here now"


@dataclass(frozen=True)
class CheckpointRow:
    """One checkpoint, and who can read it.

    Attributes:
      name: its prefix without the directory.
      format: "tf1", "tf2" or "dual"; None where the index can't be read.
      step: the global step, or None where it has none.
      bytes: of all tensors.
      state: "latest" or "listed" in the state file, or None.
      complete: whether the index and all shards are there, and no shard is too short.
      tf1_saver: tf.compat.v1.train.Saver restores it: "yes", "no", or "by name": as long as the
        graph is not finalized, by the names in the object graph, if it has them all.
      raw_estimator: an Estimator that is not wrapped resumes from it; it needs a global step.
      wrapped_estimator: a wrapped one does.
      tf2_checkpoint: tf.train.Checkpoint restores it: "yes", "no", or "by name": just those
        variables that were created under the same names.
    """

    name: str
    format: str | None
    step: int | None
    bytes: int
    state: str | None
    complete: bool
    tf1_saver: str
    raw_estimator: str
    wrapped_estimator: str
    tf2_checkpoint: str


@dataclass(frozen=True)
class Finding:
    """Something to know or to mend.

    Attributes:
      severity: "error" (a checkpoint or the state file is of no use as it is), "warning" (something
        may go wrong, or takes room for nothing) or "note" (nothing is wrong).
      subject: the file that it is about, without the directory.
      problem: what was found.
      remedy: what to do.
    """

    severity: str
    subject: str
    problem: str
    remedy: str


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown, verb="doctor"):
    """What a directory is like.

    Attributes:
      directory: which.
      latest: name of the checkpoint that a job would resume from, or None.
      checkpoints: by step, then by name.
      findings: errors first.
    """

    directory: str
    latest: str | None
    checkpoints: tuple[CheckpointRow, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there are no errors and no warnings."""
        return all(finding.severity == "note" for finding in self.findings)

    def only(self, wanted: Callable[[str], bool]) -> Diagnosis:
        """Returns what it says of the checkpoints and files whose names are wanted.

        Raises:
          CheckpointArgumentError: it is a `NameFilter`, and what is to be included is not there.
        """
        if isinstance(wanted, NameFilter):
            names = {row.name for row in self.checkpoints}
            wanted.require_found(names | {each.subject for each in self.findings}, "checkpoint")
        return replace(
            self,
            checkpoints=tuple(row for row in self.checkpoints if wanted(row.name)),
            findings=tuple(finding for finding in self.findings if wanted(finding.subject)),
        )


def doctor(model_dir: str | os.PathLike[str]) -> Diagnosis:
    """Examines a directory with checkpoints.

    Args:
      model_dir: a model_dir; or a SavedModel, for its variables; or a prefix or the path of an
        index, for the directory that it is in.

    Returns:
      What was found.

    Raises:
      CheckpointNotFoundError: there is no such directory, or nothing of a checkpoint in it.
    """
    path = os.fspath(model_dir)
    directory = _directory(path)
    names = [os.path.basename(found.rstrip("/")) for found in files.glob(directory, "*")]
    if files.exists(os.path.join(directory, ".index")):  # an empty basename; `*` leaves it out
        names += [os.path.basename(found) for found in files.glob(directory, ".*")]
    names = sorted(set(names))
    found = _Findings()
    latest, listed = _state(directory, found)
    bases = [name[: -len(".index")] for name in names if name.endswith(".index")]
    states = _states(latest, listed)
    opened = {base: _open(directory, base, base in states, found) for base in bases}
    rows = [_row(base, each, states.get(base), found) for base, each in opened.items()]
    rows.sort(key=lambda row: (-1 if row.step is None else row.step, row.name))
    nothing_named = latest is None or is_v1(latest)
    if not rows and nothing_named and not any(map(_SHARD.fullmatch, names)):
        find_prefix(path)  # says what is missing
    _compare_state(directory, latest, listed, rows, found)
    _look_for_leftovers(directory, names, opened, found)
    if OWNER_FILE not in names:  # else they are meant to be as they are
        _look_at_formats(rows, found)
    _compare_copies(directory, names, found)
    if (told := told_of_sharing(directory, names)) is not None:
        found.note(
            rows[-1].name if rows else STATE_FILE,
            told,
            "nothing; but copy one to another disk now and then, with all of its files",
        )
    return Diagnosis(directory, _base(latest), tuple(rows), tuple(found.in_order()))


class _Findings:
    """Collects findings."""

    _SEVERITIES = ("error", "warning", "note")

    def __init__(self) -> None:
        self._all: list[Finding] = []

    def error(self, subject: str, problem: str, remedy: str) -> None:
        self._all.append(Finding("error", subject, problem, remedy))

    def warning(self, subject: str, problem: str, remedy: str) -> None:
        self._all.append(Finding("warning", subject, problem, remedy))

    def note(self, subject: str, problem: str, remedy: str) -> None:
        self._all.append(Finding("note", subject, problem, remedy))

    def in_order(self) -> list[Finding]:
        return sorted(self._all, key=lambda each: self._SEVERITIES.index(each.severity))


def _directory(path: str) -> str:
    """Returns the directory to look at."""
    # A prefix first, as everywhere: some remote file systems take it for a directory, too.
    if files.exists(index_path(path)) or not files.is_directory(path):
        return os.path.dirname(find_prefix(path)) or "."
    variables = os.path.join(path, "variables")
    is_saved_model = files.exists(index_path(os.path.join(variables, "variables")))
    return variables if is_saved_model else path


def _base(prefix: str | None) -> str | None:
    return None if prefix is None else os.path.basename(prefix)


def _state(directory: str, found: _Findings) -> tuple[str | None, tuple[str, ...]]:
    try:
        return read_state(directory)
    except DamagedCheckpointError as error:
        found.error(
            STATE_FILE,
            str(error),
            f"remove it, and write it anew with tf.train.update_checkpoint_state({directory!r}, "
            "LATEST, ALL)",
        )
        return None, ()


def _states(latest: str | None, listed: tuple[str, ...]) -> dict[str, str]:
    """Returns {basename: "latest" or "listed"} of what the state file names."""
    states = dict.fromkeys(map(os.path.basename, listed), "listed")
    if latest is not None:
        states[os.path.basename(latest)] = "latest"
    return states


def _open(directory: str, base: str, named: bool, found: _Findings) -> Checkpoint | None:
    """Opens a checkpoint if it is complete, and tells of it if it is not."""
    report = found.error if named else found.warning
    try:
        return open_checkpoint(os.path.join(directory, base))
    except (DamagedCheckpointError, CheckpointNotFoundError) as error:
        problem, _, remedy = str(error).rpartition("; ")
        report(f"{base}.index", problem, remedy)
    except Exception as error:
        if not files.is_refusal(error):
            raise
        report(f"{base}.index", f"it can't be read: {error}", "look at its permissions")
    return None


def _row(
    base: str, checkpoint: Checkpoint | None, state: str | None, found: _Findings
) -> CheckpointRow:
    """Derives from its format who can read a checkpoint."""
    if checkpoint is None:
        return CheckpointRow(base, None, None, 0, state, False, "no", "no", "no", "no")
    entries = checkpoint.index.entries
    stored = {place for entry in entries.values() for place in entry.stored}
    account = Account(checkpoint)
    format = account.format
    step = _step(account)
    _look_for_lost(base, account, found)
    named, objects = format in ("tf1", "dual"), format in ("tf2", "dual")
    return CheckpointRow(
        base,
        format,
        step,
        sum(place.size for place in stored),
        state,
        True,
        tf1_saver=_yes(named) if named else "by name",
        raw_estimator=_yes(named and step is not None),
        wrapped_estimator=_yes(step is not None),
        tf2_checkpoint=_yes(objects) if objects else "by name",
    )


def _look_for_lost(base: str, account: Account, found: _Findings) -> None:
    """Looks for values that the object graph names and the index lacks."""
    try:
        lost = account.lost_keys
    except DamagedCheckpointError:  # which `verify` tells of
        return
    if lost:
        found.error(
            f"{base}.index",
            f"its object graph names {len(lost)} values that are not in it: {listed(lost, 3)}; "
            "TensorFlow 2 can't restore them",
            "save it again, without tf.train.experimental.MaxShardSizePolicy if those variables "
            "have no elements; or restore what is there, with strict=False",
        )


def _step(account: Account) -> int | None:
    try:
        return account.global_step
    except DamagedCheckpointError:  # the object graph or the step, which `verify` tells of
        return None


def _yes(whether: bool) -> str:
    return "yes" if whether else "no"


def _compare_state(
    directory: str,
    latest: str | None,
    listed: tuple[str, ...],
    rows: list[CheckpointRow],
    found: _Findings,
) -> None:
    usable = [row.name for row in rows if row.complete]
    if latest is None:
        has_state = files.exists(os.path.join(directory, STATE_FILE))  # a damaged one
        if usable and not has_state and usable != ["variables"]:  # as a SavedModel has it
            found.warning(
                STATE_FILE,
                "there is no state file: a job would start from scratch here",
                f"write one: tf.train.update_checkpoint_state({directory!r}, {usable[-1]!r})",
            )
        return
    _compare_listed(directory, latest, listed, usable, found)
    steps = {row.name: row.step or 0 for row in rows if row.complete}
    step = steps.get(os.path.basename(latest))
    newest = max(steps, key=lambda name: steps[name], default="")
    if step is not None and steps[newest] > step:
        found.warning(
            STATE_FILE,
            f"the latest is '{os.path.basename(latest)}' of step {step}, but there is "
            f"'{newest}' of step {steps[newest]}",
            "if going back was not meant, name that one as model_checkpoint_path",
        )
    known = {os.path.basename(prefix) for prefix in (latest, *listed)}
    unlisted = [name for name in usable if name not in known]
    if unlisted:
        found.note(
            STATE_FILE,
            f"it does not list {_some(unlisted)}, which no job will delete",
            "keep what you need, remove the rest",
        )


def _compare_listed(
    directory: str, latest: str, listed: tuple[str, ...], usable: list[str], found: _Findings
) -> None:
    """Looks for each checkpoint that the state file names; one finding for all of a kind."""
    text = files.read(os.path.join(directory, STATE_FILE)).decode("utf-8", "replace")
    named_in_full = {os.path.basename(path) for path in _ABSOLUTE.findall(text)}
    there = set(usable)
    missing: list[str] = []
    moved: list[str] = []
    elsewhere: list[str] = []
    absolute: list[str] = []
    for prefix in dict.fromkeys((latest, *listed)):
        base = os.path.basename(prefix)
        is_here = files.is_same(prefix, os.path.join(directory, base))
        if not files.exists(index_path(prefix)):
            (missing if is_here or base not in there else moved).append(prefix)
        elif not is_here:
            elsewhere.append(prefix)
        elif base in named_in_full:
            absolute.append(base)
    if latest in missing:
        found.error(
            STATE_FILE,
            f"the latest is '{latest}', but there is no such checkpoint",
            f"name one that is here: {_some(usable)}" if usable else "restore it from a copy",
        )
    gone = [os.path.basename(prefix) for prefix in missing if prefix != latest]
    if gone:
        found.warning(
            STATE_FILE, f"it lists {_some(gone)}, not there any more", "remove those lines from it"
        )
    if moved:
        found.warning(
            STATE_FILE,
            f"it names {_some(moved)}, not there; checkpoints of that name are here: the directory "
            "was moved. This library finds them, plain TensorFlow does not",
            "leave just the names in it, without directories",
        )
    if elsewhere:
        found.warning(
            STATE_FILE,
            f"it names {_some(elsewhere)}, in another directory",
            "if that was not meant, leave just the names in it, without directories",
        )
    if absolute:
        found.note(
            STATE_FILE,
            f"it has absolute paths for {_some(absolute)}: plain TensorFlow will not find them "
            "once the directory is moved",
            "leave just the names in it, without directories",
        )


def _look_for_leftovers(
    directory: str,
    names: list[str],
    checkpoints: Mapping[str, Checkpoint | None],
    found: _Findings,
) -> None:
    replaced = set(map(os.path.basename, replaced_shards(directory)))
    for name in names:
        shard = _SHARD.fullmatch(name)
        if staging.is_abandoned(name):
            found.warning(
                name,
                "it is left over from a process that was stopped",
                "remove it, or let the next job or command that saves here do that",
            )
        elif staging.staged_for(name) is not None or _LEFTOVER.fullmatch(name):
            found.warning(
                name,
                "it is left over from a save that was interrupted",
                f"remove it, if {_NOT_WHILE_SAVING}",
            )
        elif name in replaced:
            found.note(
                name,
                "its checkpoint has been saved again since; who has the old one open still reads "
                "it",
                "nothing: the next save or command that writes here removes it",
            )
        elif shard and shard["base"] not in checkpoints:
            found.warning(
                name,
                f"there is no index '{shard['base']}.index' that it belongs to",
                f"remove it, if {_NOT_WHILE_SAVING}; or restore the index from a copy",
            )
        elif shard:
            checkpoint = checkpoints[shard["base"]]
            if checkpoint and int(shard["count"]) != checkpoint.index.num_shards:
                found.warning(
                    name,
                    f"the checkpoint '{shard['base']}' has {checkpoint.index.num_shards} data "
                    "files, and this is none of them",
                    f"remove it, if {_NOT_WHILE_SAVING}",
                )
        elif name.endswith(".meta") and name[: -len(".meta")] not in checkpoints:
            found.note(name, "its checkpoint is gone; this is only the graph", "remove it")


def _compare_copies(directory: str, names: list[str], found: _Findings) -> None:
    """Compares a job with its directory of name-based checkpoints, from the side of either."""
    job = job_of(directory)
    if job is not None:
        _compare_copy(STATE_FILE, directory, job, found)
    inside = [
        os.path.join(directory, name)
        for name in names
        if not _FILE_OF_JOB.search(name) and files.is_directory(os.path.join(directory, name))
    ]
    elsewhere = directories_of(directory) if IDENTITY_FILE in names else []
    for path in (*inside, *elsewhere):
        of = job_of(path)
        if of is not None and files.is_same(of, directory):
            subject = os.path.basename(path) if path in inside else path
            _compare_copy(subject, path, directory, found)


def _compare_copy(subject: str, copies: str, job: str, found: _Findings) -> None:
    try:
        (_, has), (_, wanted) = read_state(copies), read_state(job)
    except DamagedCheckpointError:  # which is told of the directory itself
        return
    newest = max(map(step_in_name, has), default=-1)
    behind = [os.path.basename(prefix) for prefix in wanted if step_in_name(prefix) > newest]
    if not behind:
        return
    count = "a checkpoint" if len(behind) == 1 else f"{len(behind)} checkpoints"
    latest = f"'{os.path.basename(has[-1])}'" if has else "none"
    (found.warning if len(behind) > 1 else found.note)(
        subject,
        f"the name-based checkpoints in '{copies}' are {count} behind "
        f"the job in '{job}': the newest there is {latest}, here '{behind[-1]}'",
        "the next run of the job with its tf1_dir (or hook) catches up; or make them now: "
        f"estimator-ckpt convert {os.path.join(job, behind[-1])} "
        f"{os.path.join(copies, behind[-1])} --to=tf1",
    )


def _look_at_formats(rows: list[CheckpointRow], found: _Findings) -> None:
    latest = next((row for row in rows if row.state == "latest" and row.complete), None)
    formats = sorted({row.format for row in rows if row.format})
    if len(formats) > 1:
        found.note(
            latest.name if latest else rows[-1].name,
            f"checkpoints of several formats are here: {', '.join(formats)}",
            "a wrapped Estimator reads all; for other readers, see the table",
        )
    if latest and latest.step is None:
        found.warning(
            latest.name,
            "the latest checkpoint has no global step, so no Estimator resumes from it",
            "warm-start from it instead, or evaluate it with a plain Saver or Checkpoint",
        )
    elif latest and latest.format == "tf2":
        found.note(
            latest.name,
            "an Estimator that is not wrapped can't resume from the latest; TF1's Saver restores "
            "it only by the names in its object graph, before the graph is finalized",
            "convert it to dual or tf1 for them, or wrap the model_fn",
        )
    elif latest and latest.format == "tf1":
        found.note(
            latest.name,
            "tf.train.Checkpoint restores the latest only by name, into variables that exist",
            "convert it to dual or tf2 for it, or wrap the model_fn",
        )


def _some(names: list[str]) -> str:
    return listed([f"'{name}'" for name in reversed(names)], shown=3)
