"""What is always true of a checkpoint that was made of another one.

with laws.written(made) as (source, target):
    report = convert(source, target)
    laws.require_true(laws.Held(source), laws.Held(target), report, asked)
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import tempfile

from estimator_ckpt.checkpoint.account import open_account
from estimator_ckpt.checkpoint.opening import write_state
from estimator_ckpt.naming.filters import UNWANTED
from estimator_ckpt.operations.verify import verify

SAME_BYTES = "another name of the same bytes"
NO_TENSORS = ("object_graph", "save_counter", "python_state")


class Held:
    """What a checkpoint holds: the bytes of each key, read tensor by tensor."""

    def __init__(self, prefix: str, names: str = "auto"):
        self.account = open_account(prefix, names)
        self.data = {
            key: (
                entry.dtype,
                entry.shape,
                b"".join(map(self.account.checkpoint.read_bytes, entry.stored)),
            )
            for key, entry in self.account.entries.items()
        }


def digests(folder: str) -> dict[str, str]:
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


@contextlib.contextmanager
def written(made):
    """Writes a checkpoint; in the end, it has to be as it was."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "source"))
        prefix = made.write(os.path.join(folder, "source", "model.ckpt-7"))
        write_state(os.path.join(folder, "source"), prefix, [prefix])
        before = digests(os.path.dirname(prefix))
        yield prefix, os.path.join(folder, "target", "model.ckpt-7")
        assert digests(os.path.dirname(prefix)) == before, "the source was changed"


def require_true(source: Held, target: Held, report, asked) -> None:
    """Makes sure of all that a report says, and that it says all."""
    kept = collections.defaultdict(list)
    for change in report.keys:
        assert source.data[change.source] == target.data[change.target], change
        kept[change.source].append(change.target)
    dropped = dict(report.dropped)
    assert len(dropped) == len(report.dropped)
    assert not set(kept) & set(dropped)
    assert set(kept) | set(dropped) | set(report.added) >= set(source.data), "a key is not told of"
    targets = {change.target for change in report.keys}
    assert targets | set(report.added) == set(target.data)
    assert not targets & set(report.added)
    account = source.account
    for key, reason in dropped.items():
        if key in account.others:
            assert account.others[key].kind in NO_TENSORS
            continue
        if source.data[key][2]:  # empty tensors are all alike
            assert target.data.get(key) != source.data[key], f"{key} is there"
        name = account.name_of[key]
        if reason.startswith(SAME_BYTES):
            others = {each for each in account.keys_of[name] if each in kept}
            if not source.data[key][2]:  # an empty tensor is as good as another one
                others |= {each for each in kept if source.data[each] == source.data[key]}
            assert others, f"{key} is dropped as {reason}"
        elif asked is None:
            assert reason == "replaced by its average", (key, reason)
            (average,) = (n for n, role in account.roles.items() if role[:2] == ("average", name))
            assert account.key_of[average] in kept
        else:
            assert reason.startswith("asked for") or reason == UNWANTED, (key, reason)
            assert asked(name, account.roles[name]), f"{key} is dropped as {reason}"


def require_same_roles(source: Held, target: Held) -> None:
    """Each tensor plays the part that it played, where something can still tell."""
    by_data = collections.defaultdict(list)
    for name in target.account.key_of:
        by_data[target.data[target.account.key_of[name]]].append(name)
    for name, role in source.account.roles.items():
        data = source.data[source.account.key_of[name]]
        for new in by_data.get(data, ()):
            told = target.account.roles[new]
            if not data[2] or name in source.account.by_path or role.kind == "table":
                continue
            owner = source.account.key_of.get(role.of or "")
            if role.of in source.account.by_path:
                continue  # its slots are called after a name that it does not have
            if owner is None or source.data[owner] not in by_data:
                if role.kind in ("variable", "global_step"):
                    assert told.kind == role.kind, (name, role, new, told)
                continue
            assert told.kind == role.kind, (name, role, new, told)
            assert told.of in by_data[source.data[owner]] or not source.data[owner][2]


def require_sound(target: Held) -> None:
    assert verify(target.account.checkpoint.prefix).ok
    assert target.account.lost_keys == ()
