"""What each command that reads tensors asks of a store: each byte once, in few requests."""

from __future__ import annotations

import collections
import math
import re

import numpy as np
import pytest

from estimator_ckpt.cli import main

SIZE = 20 * 1024 * 1024
HEAD = 1024  # what is read of a file to tell what it is
PER_REQUEST, MORE = 8 * 1024 * 1024, 10  # besides one of these for so many bytes
COMMANDS = {
    "verify": "verify {job}/m",
    "verify of a directory": "verify {job}",
    "inspect --values": "inspect {job}/both --values --json",
    "inspect": "inspect {job}/both --json",
    "diff": "diff {job}/m {job}/other --values",
    "diff of formats": "diff {job}/objects {job}/other --values",
    "diff with the disk": "diff {job}/m {disk}/other --values",
    "average": "average {job}/m {job}/other {disk}/new/m",
    "cast": "cast {job}/both {disk}/new/m --to=bfloat16",
    "export to npz": "export {job}/m {disk}/new.npz",
    "export to safetensors": "export {job}/both {disk}/new.safetensors",
    "import from npz": "import {job}/m.npz {disk}/new/m --to=tf1",
    "import from safetensors": "import {job}/m.safetensors {disk}/new/m --to=dual",
    "rename with a map": "rename {job}/m {job}/new/m --rename=@{disk}/map.txt",
}


@pytest.fixture(scope="module", params=[5, 200])
def made(request, tmp_path_factory):
    """Checkpoints and files of so many tensors, on the disk: {name below the folder: bytes}."""
    folder = tmp_path_factory.mktemp("made")
    count = request.param
    random = np.random.default_rng(count)
    shape = (SIZE // 4 // count // 64, 64)
    values = {f"layer_{n}/kernel": random.random(shape, np.float32) for n in range(count)}
    values["global_step"] = np.int64(7)
    np.savez(folder / "m.npz", **values)
    np.savez(folder / "other.npz", **{name: each + 1 for name, each in values.items()})
    for line in (
        "import {0}/m.npz {0}/m --to=tf1",
        "import {0}/other.npz {0}/other --to=tf1",
        "convert {0}/m {0}/both --to=dual",
        "convert {0}/m {0}/objects --to=tf2",
        "export {0}/m {0}/m.safetensors",
    ):
        assert main.main(line.format(folder).split()) == 0
    (folder / "checkpoint").write_text('model_checkpoint_path: "m"\n')
    last = f"layer_{count - 1}/kernel"
    (folder / "map.txt").write_text(f"[pinned]\n{last} -> turned : transpose(1, 0)\n")
    return folder


@pytest.fixture
def run(made, s3_store, tmp_path, capsys):
    """Runs a command on what lies on a store; returns what the store was asked."""
    for path in made.iterdir():
        s3_store.put(f"job/{path.name}", path.read_bytes())

    def run(line):
        capsys.readouterr()
        words = line.format(job=f"{s3_store.url}/job", disk=tmp_path).split()
        with s3_store.counted() as traffic:
            code = main.main(words)
        said = capsys.readouterr()
        assert code in (0, 1) and "error" not in said.err, said.err
        return traffic, said.out

    for name in ("other.index", "other.data-00000-of-00001", "map.txt"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    return run


def ranges(traffic):
    """{key: [(start, end) of each request that brought more of it than its head]}, in order."""
    found = collections.defaultdict(list)
    for each in traffic.log:
        if each.method == "GET" and each.key and each.sent and each.status < 300:
            begins = re.match(r"bytes=(\d+)-", each.range)
            start = int(begins[1]) if begins else 0
            if start + each.sent > HEAD:
                found[each.key].append((start, start + each.sent))
    return {key: sorted(each) for key, each in found.items()}


def require_few(traffic):
    """Writes have a table of their own."""
    read = [each for each in traffic.log if not each.is_write]
    allowed = MORE + math.ceil(traffic.downloaded / PER_REQUEST)
    assert len(read) <= allowed, str(traffic)[:5000]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_byte_comes_at_most_once_and_in_few_requests(run, command):
    traffic, _ = run(COMMANDS[command])
    for key, came in ranges(traffic).items():
        for (_, end), (start, _) in zip(came, came[1:]):
            assert end <= start, f"bytes of {key} came twice:\n{str(traffic)[:5000]}"
    require_few(traffic)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_what_is_exported_to_a_store_comes_back_from_there(run, made, kind):
    run(f"export {{job}}/both {{job}}/new/all.{kind}")
    traffic, _ = run(f"import {{job}}/new/all.{kind} {{job}}/back/m --to=dual")
    require_few(traffic)
    _, told = run("diff {job}/back/m {job}/m")
    assert not told.splitlines()[1:], told
