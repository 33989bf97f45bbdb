"""Checkpoints and live objects: restore, structure_diff, assignment_map. This needs TensorFlow."""
