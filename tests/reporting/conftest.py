"""A browser for these tests, and checkpoints whose names would be markup if they could."""

from __future__ import annotations

import numpy as np
import pytest
from browser import axe, chromium, open_page

from estimator_ckpt import import_checkpoint

__all__ = ["axe", "chromium", "evil_job", "open_page", "save"]
IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "a/</script><script>alert(2)</script>"
OTHERS = ("{data}&amp;", "x' onmouseover='alert(3)", "größe/日本語", "tab\there", 'say "w"')


def values(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(step)
    table = rng.normal(size=(40, 8)).astype("f")
    table[5:9] = 0
    found = {
        "net/embedding/table": table,
        "net/dense/kernel": rng.normal(size=(64, 32)).astype("f"),
        "net/dense/kernel/Adam": rng.normal(size=(64, 32)).astype("f"),
        "net/dense/kernel/Adam_1": rng.normal(size=(64, 32)).astype("f"),
        "net/dense/bias": np.array([np.nan, np.inf, 0, *range(29)], "f"),
        "net/same": np.arange(5, dtype="f"),
        "global_step": np.int64(step),
        IMAGE: rng.normal(size=(16, 16)).astype("f"),
        SCRIPT: rng.normal(size=(16, 8)).astype("f"),
    }
    found.update((name, np.full(3, step, "f")) for name in OTHERS)
    return found


@pytest.fixture(scope="session")
def save(tmp_path_factory):
    """Writes a checkpoint of these values as the latest of its directory: save(prefix, values)."""
    folder = tmp_path_factory.mktemp("values")

    def save(prefix, values):
        np.savez(folder / "values.npz", **values)
        import_checkpoint(str(folder / "values.npz"), str(prefix), to="tf1", overwrite=True)
        names = [path.stem for path in sorted(prefix.parent.glob("*.index"))]
        listed = "".join(f'all_model_checkpoint_paths: "{name}"\n' for name in names)
        state = f'model_checkpoint_path: "{prefix.name}"\n{listed}'
        (prefix.parent / "checkpoint").write_text(state)

    return save


@pytest.fixture(scope="session")
def evil_job(save, tmp_path_factory):
    """A model_dir with checkpoints of the steps 100, 200, 300 and 600."""
    folder = tmp_path_factory.mktemp("job")
    for step in (100, 200, 300, 600):
        save(folder / f"model.ckpt-{step}", values(step))
    return folder
