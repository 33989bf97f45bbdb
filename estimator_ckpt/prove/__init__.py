"""Proof by running: a job raw and wrapped, or two models on the same inputs.

python -m estimator_ckpt.prove --model_fn=my.model:model_fn --input_fn=my.data:input_fn
"""
