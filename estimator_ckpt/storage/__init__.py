"""Where bytes lie: the local disk, and what else TensorFlow reaches.

    from estimator_ckpt.storage import files

    files.read(path, offset, length)
    files.write_atomically(path, data)

What the bytes mean is the business of `estimator_ckpt.bundle`.
"""
