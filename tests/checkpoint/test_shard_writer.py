import numpy as np
import pytest

from estimator_ckpt.checkpoint.shard_writer import ShardWriter
from estimator_ckpt.errors import CheckpointArgumentError

FLOAT = 1
ARRAYS = [np.arange(size, dtype=np.float32).reshape(-1, 1) for size in (3, 0, 1, 2000)]
BYTES = memoryview(b"".join(each.tobytes() for each in ARRAYS))


def test_tensors_that_are_written_together_have_the_entries_of_each(tmp_path):
    with ShardWriter(str(tmp_path / "one"), "a", 3) as shard:
        shard.append(FLOAT, (1,), [b"\0\0\0\0"])
        wanted = [shard.append(FLOAT, each.shape, [each.tobytes()]) for each in ARRAYS]
    told = []
    progress = lambda *given: told.append(given)  # noqa: E731
    with ShardWriter(str(tmp_path / "other"), "a", 3, progress=progress) as shard:
        shard.append(FLOAT, (1,), [b"\0\0\0\0"])
        found = shard.append_joined(FLOAT, [each.shape for each in ARRAYS], BYTES)
        assert shard.size == 4 + len(BYTES)
    assert found == wanted
    assert told[-1] == ("a", 4 + len(BYTES), 4 + len(BYTES))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("data", [BYTES[:-1], memoryview(bytes(BYTES) + b"!")])
def test_tensors_that_are_written_together_need_as_many_bytes(tmp_path, data):
    refused = pytest.raises(CheckpointArgumentError, match="4 tensors of float32 have 8016 bytes")
    with ShardWriter(str(tmp_path / "one"), "a") as shard, refused:
        shard.append_joined(FLOAT, [each.shape for each in ARRAYS], data)
