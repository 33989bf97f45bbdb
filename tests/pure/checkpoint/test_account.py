"""What an account says of a checkpoint's numbers, whatever they and the checkpoint are called."""

import struct
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimator_ckpt import describe, import_checkpoint
from estimator_ckpt.bundle import checksums
from estimator_ckpt.storage import files

STEPS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**34), st.just(2**32 + 10))


def like(step):
    """The number of 32 bits that has the same checksum, as a checkpoint may be called by it."""
    return checksums.integer_of(checksums.masked_crc32c(struct.pack("<q", step)), 8)


@given(STEPS, st.sampled_from(["itself", "nothing", "another"]))
def test_the_step_is_the_one_that_is_stored(step, called):
    name = {"itself": f"model.ckpt-{step}", "nothing": "ckpt", "another": "ckpt-7"}[called]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/values.npz", global_step=np.int64(step))
        import_checkpoint(f"{folder}/values.npz", f"{folder}/{name}", to="dual")
        assert describe(f"{folder}/{name}").step == step


@pytest.mark.parametrize("step", [0, 10, 2**31 - 1])
def test_no_data_file_is_read_where_the_name_says_the_step(tmp_path, step, monkeypatch):
    np.savez(tmp_path / "values.npz", global_step=np.int64(step))
    import_checkpoint(tmp_path / "values.npz", tmp_path / f"model.ckpt-{step}", to="tf1")
    read = files.read

    def indexes_only(path, *where):
        assert path.endswith(".index"), path
        return read(path, *where)

    monkeypatch.setattr(files, "read", indexes_only)
    assert describe(tmp_path / f"model.ckpt-{step}").step == step


def test_a_number_of_64_bits_may_have_the_checksum_of_a_smaller_one():
    assert like(2**32 + 10) == 99383035
