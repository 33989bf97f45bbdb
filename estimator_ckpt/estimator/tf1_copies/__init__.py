"""TF1 checkpoints beside the job's own: hooks, emission, retention, whose directory it is."""
