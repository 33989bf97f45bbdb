"""The command `estimator-ckpt`, one module a verb; presentation only.

Synopsis:

    estimator-ckpt inspect model_dir
    estimator-ckpt convert model_dir/model.ckpt-500 converted/ckpt-500 --to=tf2
"""
