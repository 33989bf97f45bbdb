"""What the keys of a checkpoint mean: names (TF1), object paths (TF2), roles, rules.

    from estimator_ckpt import naming

    naming.format_of(index.entries)                     # "tf1", "tf2" or "dual"
    naming.Layout().key("dnn/kernel")                   # var_list/dnn.Skernel/.ATTRIBUTES/...
    naming.name_tensors(keys, read_full_names).by_key   # {key: name}

Pure functions on keys; no file is read here. What one checkpoint holds is told by
`estimator_ckpt.checkpoint.account`, which asks these.
"""

from __future__ import annotations

from estimator_ckpt.naming.edit import Edit as Edit
from estimator_ckpt.naming.edit import average_of as average_of
from estimator_ckpt.naming.edit import averages as averages
from estimator_ckpt.naming.edit import choose as choose
from estimator_ckpt.naming.edit import drop as drop
from estimator_ckpt.naming.edit import rename as rename
from estimator_ckpt.naming.filters import UNWANTED as UNWANTED
from estimator_ckpt.naming.filters import NameFilter as NameFilter
from estimator_ckpt.naming.layout import GLOBAL_STEP as GLOBAL_STEP
from estimator_ckpt.naming.layout import SAVE_COUNTER as SAVE_COUNTER
from estimator_ckpt.naming.layout import SAVE_COUNTER_KEY as SAVE_COUNTER_KEY
from estimator_ckpt.naming.layout import Layout as Layout
from estimator_ckpt.naming.layout import format_of as format_of
from estimator_ckpt.naming.layout import layout_of as layout_of
from estimator_ckpt.naming.layout import name_tensors as name_tensors
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY as OBJECT_GRAPH_KEY
from estimator_ckpt.naming.object_graph import Leaf as Leaf
from estimator_ckpt.naming.object_graph import ObjectGraph as ObjectGraph
from estimator_ckpt.naming.paths import is_object_key as is_object_key
from estimator_ckpt.naming.roles import Role as Role
from estimator_ckpt.naming.rules import RenameRules as RenameRules
from estimator_ckpt.naming.rules import Rules as Rules
from estimator_ckpt.naming.rules import parse_rules as parse_rules
from estimator_ckpt.naming.rules import rename_rules as rename_rules
