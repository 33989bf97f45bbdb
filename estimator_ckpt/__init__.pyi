"""The public names, listed once: `__init__.py` finds each here, when it is first used."""

from estimator_ckpt._version import __version__ as __version__
from estimator_ckpt.conversion.converting import convert as convert
from estimator_ckpt.conversion.editing import drop as drop
from estimator_ckpt.conversion.editing import ema as ema
from estimator_ckpt.conversion.editing import rename as rename
from estimator_ckpt.conversion.model_dir import convert_all as convert_all
from estimator_ckpt.conversion.report import ConversionReport as ConversionReport
from estimator_ckpt.errors import CheckpointArgumentError as CheckpointArgumentError
from estimator_ckpt.errors import CheckpointError as CheckpointError
from estimator_ckpt.errors import CheckpointExistsError as CheckpointExistsError
from estimator_ckpt.errors import CheckpointNotFoundError as CheckpointNotFoundError
from estimator_ckpt.errors import CheckpointWriteError as CheckpointWriteError
from estimator_ckpt.errors import DamagedCheckpointError as DamagedCheckpointError
from estimator_ckpt.errors import EstimatorUnavailableError as EstimatorUnavailableError
from estimator_ckpt.errors import NameClashError as NameClashError
from estimator_ckpt.errors import VariableMismatchError as VariableMismatchError
from estimator_ckpt.estimator.model_fn import wrap_model_fn as wrap_model_fn
from estimator_ckpt.estimator.saver import CheckpointSaver as CheckpointSaver
from estimator_ckpt.estimator.scaffold import checkpoint_scaffold as checkpoint_scaffold
from estimator_ckpt.estimator.tf1_copies.hooks import Tf1CheckpointListener as Tf1CheckpointListener
from estimator_ckpt.estimator.tf1_copies.hooks import (
    Tf1CheckpointSaverHook as Tf1CheckpointSaverHook,
)
from estimator_ckpt.estimator.variable_names import variable_names as variable_names
from estimator_ckpt.estimator.warm_start import warm_start_settings as warm_start_settings
from estimator_ckpt.interchange.export import ExportReport as ExportReport
from estimator_ckpt.interchange.export import export_checkpoint as export_checkpoint
from estimator_ckpt.interchange.import_ import ImportReport as ImportReport
from estimator_ckpt.interchange.import_ import import_checkpoint as import_checkpoint
from estimator_ckpt.live.assignment import assignment_map as assignment_map
from estimator_ckpt.live.mapping import propose_map as propose_map
from estimator_ckpt.live.restore import restore as restore
from estimator_ckpt.live.restore_report import RestoreReport as RestoreReport
from estimator_ckpt.live.structure import StructureDiff as StructureDiff
from estimator_ckpt.live.structure import structure_diff as structure_diff
from estimator_ckpt.naming.variable_map import VariableMap as VariableMap
from estimator_ckpt.operations.average import AverageReport as AverageReport
from estimator_ckpt.operations.average import average as average
from estimator_ckpt.operations.cast import CastReport as CastReport
from estimator_ckpt.operations.cast import cast as cast
from estimator_ckpt.operations.compact import CompactReport as CompactReport
from estimator_ckpt.operations.compact import compact as compact
from estimator_ckpt.operations.describe import CheckpointDescription as CheckpointDescription
from estimator_ckpt.operations.describe import describe as describe
from estimator_ckpt.operations.diff import Difference as Difference
from estimator_ckpt.operations.diff import diff as diff
from estimator_ckpt.operations.doctor import Diagnosis as Diagnosis
from estimator_ckpt.operations.doctor import doctor as doctor
from estimator_ckpt.operations.verify import Verification as Verification
from estimator_ckpt.operations.verify import verify as verify
from estimator_ckpt.prove.answers import AnswersProof as AnswersProof
from estimator_ckpt.prove.answers import prove_answers as prove_answers
from estimator_ckpt.prove.job import prove_job as prove_job
from estimator_ckpt.prove.job_proof import JobProof as JobProof
from estimator_ckpt.prove.outputs import OutputProof as OutputProof
from estimator_ckpt.prove.outputs import prove_outputs as prove_outputs
