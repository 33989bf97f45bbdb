"""The account of made-up checkpoints of every format says of each tensor what it is."""

from __future__ import annotations

import os
import tempfile

import made_checkpoints
from hypothesis import given

from estimator_ckpt.checkpoint.account import open_account


@given(made_checkpoints.checkpoints(odd=False))
def test_each_tensor_has_its_role_and_its_owner(made):
    with tempfile.TemporaryDirectory() as folder:
        account = open_account(made.write(os.path.join(folder, "ckpt")))
        assert account.checkpoint.index.entries
        for name, tensor in made.tensors.items():
            if tensor.kind == "save_counter":
                assert account.others[tensor.keys[0]].kind == "save_counter"
                continue
            assert account.name_of[tensor.keys[0]] == name
            role = account.roles[name]
            if tensor.kind == "table" and made.format in ("tf1", "dual", "empty graph"):
                continue  # no name says that it is one
            assert (role.kind, role.of) == (tensor.kind, tensor.of), (name, role)
