"""Models to try the library on.

    python -m estimator_ckpt.train --flagfile=configs/digits.flags   # `digits`, handwritten digits

They need the extra `examples`: `pip install "estimator_ckpt[examples]"`.
"""
