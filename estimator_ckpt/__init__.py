"""Move TensorFlow Estimator jobs from name-based (TF1) to object-based (TF2) checkpoints.

    import estimator_ckpt

    estimator = tf.estimator.Estimator(estimator_ckpt.wrap_model_fn(model_fn), "model_dir")
    estimator_ckpt.convert("model_dir", "tf1/model.ckpt", to="tf1")

Names are resolved when they are first used: importing the package loads neither TensorFlow nor
tf.estimator, and what needs no Estimator never does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from estimator_ckpt._version import __version__ as __version__

if TYPE_CHECKING:
    from estimator_ckpt.conversion import ConversionReport as ConversionReport
    from estimator_ckpt.conversion import convert as convert
    from estimator_ckpt.errors import CheckpointArgumentError as CheckpointArgumentError
    from estimator_ckpt.errors import CheckpointError as CheckpointError
    from estimator_ckpt.errors import CheckpointExistsError as CheckpointExistsError
    from estimator_ckpt.errors import CheckpointNotFoundError as CheckpointNotFoundError
    from estimator_ckpt.errors import CheckpointWriteError as CheckpointWriteError
    from estimator_ckpt.errors import DamagedCheckpointError as DamagedCheckpointError
    from estimator_ckpt.errors import EstimatorUnavailableError as EstimatorUnavailableError
    from estimator_ckpt.errors import NameClashError as NameClashError
    from estimator_ckpt.errors import VariableMismatchError as VariableMismatchError
    from estimator_ckpt.estimator.hooks import Tf1CheckpointListener as Tf1CheckpointListener
    from estimator_ckpt.estimator.hooks import Tf1CheckpointSaverHook as Tf1CheckpointSaverHook
    from estimator_ckpt.estimator.model_fn import wrap_model_fn as wrap_model_fn
    from estimator_ckpt.estimator.saver import CheckpointSaver as CheckpointSaver
    from estimator_ckpt.estimator.scaffold import checkpoint_scaffold as checkpoint_scaffold
    from estimator_ckpt.estimator.warm_start import warm_start_settings as warm_start_settings
    from estimator_ckpt.objects.assignment import assignment_map as assignment_map
    from estimator_ckpt.objects.restore import RestoreReport as RestoreReport
    from estimator_ckpt.objects.restore import restore as restore
    from estimator_ckpt.objects.structure import StructureDiff as StructureDiff
    from estimator_ckpt.objects.structure import structure_diff as structure_diff
    from estimator_ckpt.tools.average import AverageReport as AverageReport
    from estimator_ckpt.tools.average import average as average
    from estimator_ckpt.tools.cast import CastReport as CastReport
    from estimator_ckpt.tools.cast import cast as cast
    from estimator_ckpt.tools.describe import CheckpointDescription as CheckpointDescription
    from estimator_ckpt.tools.describe import describe as describe
    from estimator_ckpt.tools.diff import Difference as Difference
    from estimator_ckpt.tools.diff import diff as diff
    from estimator_ckpt.tools.doctor import Diagnosis as Diagnosis
    from estimator_ckpt.tools.doctor import doctor as doctor
    from estimator_ckpt.tools.edit import drop as drop
    from estimator_ckpt.tools.edit import ema as ema
    from estimator_ckpt.tools.edit import rename as rename
    from estimator_ckpt.tools.export import ExportReport as ExportReport
    from estimator_ckpt.tools.export import export_checkpoint as export_checkpoint
    from estimator_ckpt.tools.import_ import ImportReport as ImportReport
    from estimator_ckpt.tools.import_ import import_checkpoint as import_checkpoint
    from estimator_ckpt.tools.model_dir import convert_all as convert_all
    from estimator_ckpt.tools.verify import Verification as Verification
    from estimator_ckpt.tools.verify import verify as verify

_MODULES = {
    "AverageReport": "tools.average",
    "CastReport": "tools.cast",
    "CheckpointArgumentError": "errors",
    "CheckpointDescription": "tools.describe",
    "CheckpointError": "errors",
    "CheckpointExistsError": "errors",
    "CheckpointNotFoundError": "errors",
    "CheckpointSaver": "estimator.saver",
    "CheckpointWriteError": "errors",
    "ConversionReport": "conversion",
    "DamagedCheckpointError": "errors",
    "Diagnosis": "tools.doctor",
    "Difference": "tools.diff",
    "EstimatorUnavailableError": "errors",
    "ExportReport": "tools.export",
    "ImportReport": "tools.import_",
    "NameClashError": "errors",
    "RestoreReport": "objects.restore",
    "StructureDiff": "objects.structure",
    "Tf1CheckpointListener": "estimator.hooks",
    "Tf1CheckpointSaverHook": "estimator.hooks",
    "VariableMismatchError": "errors",
    "Verification": "tools.verify",
    "assignment_map": "objects.assignment",
    "average": "tools.average",
    "cast": "tools.cast",
    "checkpoint_scaffold": "estimator.scaffold",
    "convert": "conversion",
    "convert_all": "tools.model_dir",
    "describe": "tools.describe",
    "diff": "tools.diff",
    "doctor": "tools.doctor",
    "drop": "tools.edit",
    "ema": "tools.edit",
    "export_checkpoint": "tools.export",
    "import_checkpoint": "tools.import_",
    "rename": "tools.edit",
    "restore": "objects.restore",
    "structure_diff": "objects.structure",
    "verify": "tools.verify",
    "warm_start_settings": "estimator.warm_start",
    "wrap_model_fn": "estimator.model_fn",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
