r"""Trains, evaluates, predicts with or exports any Estimator model, told by flags alone.

    python -m estimator_ckpt.train --flagfile=configs/digits.flags
    python -m estimator_ckpt.train --model_fn=my.model:model_fn --input_fn=my.data:train_input_fn \
        --mode=train --max_steps=1000 --model_dir=runs/mine --params='{"learning_rate": 0.01}'
    python -m estimator_ckpt.train --help

After training it reads the checkpoints back with plain TensorFlow and prints a short summary.
"""

from estimator_ckpt.train.job import cli

if __name__ == "__main__":
    cli()
