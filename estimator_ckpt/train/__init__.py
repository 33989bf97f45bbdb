"""The absl job: `python -m estimator_ckpt.train` trains a model that flags alone name."""
