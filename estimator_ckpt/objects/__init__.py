"""What plain TensorFlow 2 code uses: restore, structure_diff, assignment_map."""
