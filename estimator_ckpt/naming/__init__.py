"""What the keys of a checkpoint mean: names (TF1), object paths (TF2), slots, the step.

    from estimator_ckpt import naming

    naming.format_of(index.entries)                     # "tf1", "tf2" or "dual"
    naming.Layout().key("dnn/kernel")                   # var_list/dnn.Skernel/.ATTRIBUTES/...
    naming.variable_names(keys, read_full_names)        # {key: name}

Pure functions on keys; no file is read here.
"""

from __future__ import annotations

from estimator_ckpt.naming.edit import Edit as Edit
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
from estimator_ckpt.naming.layout import variable_names as variable_names
from estimator_ckpt.naming.object_graph import OBJECT_GRAPH_KEY as OBJECT_GRAPH_KEY
from estimator_ckpt.naming.object_graph import Leaf as Leaf
from estimator_ckpt.naming.object_graph import add_leaves as add_leaves
from estimator_ckpt.naming.object_graph import build_object_graph as build_object_graph
from estimator_ckpt.naming.object_graph import full_names as full_names
from estimator_ckpt.naming.object_graph import match_graphs as match_graphs
from estimator_ckpt.naming.object_graph import node_paths as node_paths
from estimator_ckpt.naming.object_graph import parse_object_graph as parse_object_graph
from estimator_ckpt.naming.object_graph import prune as prune
from estimator_ckpt.naming.object_graph import split_shared as split_shared
from estimator_ckpt.naming.object_graph import subgraph as subgraph
from estimator_ckpt.naming.paths import is_object_key as is_object_key
from estimator_ckpt.naming.rules import Rename as Rename
from estimator_ckpt.naming.rules import rename_rules as rename_rules
from estimator_ckpt.naming.slots import corresponding_slots as corresponding_slots
from estimator_ckpt.naming.slots import is_optimizer_state as is_optimizer_state
from estimator_ckpt.naming.slots import slot_of as slot_of
