"""What lies in a model_dir: any format, in any order, forward and back again."""

import os

import jobs
import numpy as np
import tensorflow as tf
from eager import eagerly
from scenarios import Job, conformance_test, scenario

import estimator_ckpt

tf1 = tf.compat.v1
_GROUP = "Formats in the model_dir"
_FORMATS = ("raw", "dual", "tf2")


def _as(job, how):
    """The same job before it was wrapped, or wrapped for another format; a raw one stays raw."""
    return Job("raw" if job.how == "raw" else how, job.folder)


def _predictions(estimator, checkpoint_path=None):
    found = estimator.predict(
        jobs.same_batch_input_fn, checkpoint_path=checkpoint_path, yield_single_examples=False
    )
    return next(found)["y"]


def _exported(estimator, folder, checkpoint_path=None):
    path = estimator.export_saved_model(
        str(folder), jobs.serving_input_fn, checkpoint_path=checkpoint_path
    )
    variables = tf.train.load_checkpoint(os.path.join(os.fsdecode(path), "variables/variables"))
    return {name: variables.get_tensor(name) for name in ("global_step", "layer/w", "layer/b")}


def _all_modes(estimator, folder, checkpoint_path=None):
    metrics = estimator.evaluate(jobs.input_fn, steps=2, checkpoint_path=checkpoint_path)
    predictions = _predictions(estimator, checkpoint_path)
    return metrics, predictions, _exported(estimator, folder, checkpoint_path)


@scenario(_GROUP)
def forward(job):
    """Forward: a job trained before it was wrapped goes on from its TF1 checkpoint."""
    _as(job, "raw").train(jobs.adam_model_fn, steps=4)
    job.train(jobs.adam_model_fn, steps=4)
    job.train(jobs.adam_model_fn, steps=8, model_dir=job.folder / "at-once")
    values = job.values()
    jobs.assert_equal_values(values, job.values(job.folder / "at-once"))
    return values, job.checkpoints()


@scenario(_GROUP)
def tf1_in_every_mode(job):
    """A TF1 model_dir: evaluate, predict and export as soon as the job is wrapped."""
    _as(job, "raw").train(jobs.adam_model_fn, steps=3)
    return _all_modes(job.estimator(jobs.adam_model_fn), job.folder / "out")


@scenario(_GROUP, slow=True)
def each_format_by_its_path(job):
    """TF1, dual and TF2 in one model_dir: each by its checkpoint_path, in every mode."""
    for how in _FORMATS:
        _as(job, how).train(jobs.adam_model_fn, steps=1)
    estimator = job.estimator(jobs.adam_model_fn)
    return {
        name: _all_modes(estimator, job.folder / name, str(job.model_dir / name))
        for name in job.checkpoints()
    }


@scenario(_GROUP)
def mixture_is_trained_on(job):
    """TF1, dual and TF2 by turns in one model_dir, the oldest removed: 8 steps equal at once."""
    config = {"save_checkpoints_steps": 1, "keep_checkpoint_max": 3}
    for how in ("raw", "tf2", "dual"):
        _as(job, how).train(jobs.adam_model_fn, steps=2, **config)
    job.train(jobs.adam_model_fn, steps=2, **config)
    job.train(jobs.adam_model_fn, steps=8, model_dir=job.folder / "at-once")
    values = job.values()
    jobs.assert_equal_values(values, job.values(job.folder / "at-once"))
    return values, job.checkpoints(), sorted(path.name for path in job.model_dir.glob("*.index"))


@scenario(_GROUP)
def backward(job):
    """Backward: the wrapper is taken off, and the job goes on from its last checkpoint."""
    return _trained_in_turns(job, [job.how, "raw"])


@scenario(_GROUP)
def forward_backward_and_forward_again(job):
    """Forward, backward and forward again."""
    return _trained_in_turns(job, ["raw", job.how, "raw", job.how])


def _trained_in_turns(job, turns):
    """Trains 2 steps by turns, wrapped or not; by name only does a raw job restore.

    So a tf2 job's model_dir is converted before it goes back.
    """
    model_dir = job.model_dir
    for number, how in enumerate(turns):
        if how == "raw" and number and job.how == "tf2":
            step = 2 * number
            back = job.folder / f"back-at-{step}"
            estimator_ckpt.convert(model_dir, back / f"model.ckpt-{step}", to="tf1")
            tf1.train.update_checkpoint_state(str(back), f"model.ckpt-{step}")
            model_dir = back
        _as(job, how).train(jobs.adam_model_fn, steps=2, model_dir=model_dir)
    values = job.values(model_dir)
    job.train(jobs.adam_model_fn, steps=2 * len(turns), model_dir=job.folder / "at-once")
    jobs.assert_equal_values(values, job.values(job.folder / "at-once"))
    return values


@scenario(_GROUP)
def raw_estimator_over_a_wrapped_jobs_checkpoint(job):
    """An unwrapped Estimator evaluates, predicts and exports what a wrapped job has saved."""
    estimator = job.train(jobs.adam_model_fn, steps=3)
    path = estimator.latest_checkpoint()
    if job.how == "tf2":
        path = estimator_ckpt.convert(path, job.folder / "back" / "model.ckpt-3", to="dual").prefix
    raw = jobs.make_estimator(jobs.adam_model_fn, job.folder / "raw")
    return _all_modes(raw, job.folder / "out", path)


@scenario(_GROUP)
def converted_checkpoints_are_trained_on(job):
    """A TF1 checkpoint that `convert` made an object-based one of: the job goes on from it."""
    source = Job("raw", job.folder / "source")
    path = source.train(jobs.adam_model_fn, steps=3).latest_checkpoint()
    job.model_dir.mkdir()
    to = "tf1" if job.how == "raw" else job.how
    estimator_ckpt.convert(path, job.model_dir / "model.ckpt-3", to=to)
    tf1.train.update_checkpoint_state(str(job.model_dir), "model.ckpt-3")
    job.train(jobs.adam_model_fn, steps=2)
    return job.values(), job.checkpoints()


@scenario(_GROUP)
def the_oldest_file_format(job):
    """Checkpoints in TensorFlow's oldest file format, V1, without an index file."""
    source = Job("raw", job.folder / "source")
    path = source.train(jobs.adam_model_fn, steps=3).latest_checkpoint()
    reader = tf.train.load_checkpoint(path)
    job.model_dir.mkdir()
    with tf.Graph().as_default(), tf1.Session() as session:
        for name in reader.get_variable_to_shape_map():
            tf1.get_variable(name, initializer=reader.get_tensor(name), use_resource=False)
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
        saver.save(session, str(job.model_dir / "model.ckpt"), 3)
    job.train(jobs.adam_model_fn, steps=2)
    return job.values()


@scenario(_GROUP, slow=True)
def read_only_checkpoints(job):
    """Checkpoints that may only be read: predict, evaluate, export and convert leave them be."""
    for how in _FORMATS:
        _as(job, how).train(jobs.adam_model_fn, steps=1)
    names = job.checkpoints()
    before = jobs.snapshot(job.model_dir)
    job.model_dir.chmod(0o555)  # which root is not held by: so the snapshots
    try:
        found = [_predictions(job.estimator(jobs.adam_model_fn))]
        elsewhere = job.estimator(jobs.adam_model_fn, job.folder / "elsewhere")
        for name in names:
            path = str(job.model_dir / name)
            found.append(elsewhere.evaluate(jobs.input_fn, steps=1, checkpoint_path=path))
            found.append(_exported(elsewhere, job.folder / name, path))
            for to in ("tf1", "dual"):
                estimator_ckpt.convert(path, job.folder / to / name, to=to)
        assert jobs.snapshot(job.model_dir) == before
    finally:
        job.model_dir.chmod(0o755)
    return found


def _renamed_model_fn(features, labels, mode):
    """`jobs.adam_model_fn` with `weights` for `w`, and with one variable more."""
    with tf1.variable_scope("layer"):
        weights = tf1.get_variable("w_new", [4, 3], initializer=tf1.zeros_initializer())
        b = tf1.get_variable("b", [3], initializer=tf1.zeros_initializer())
        scale = tf1.get_variable("quite_another", [], initializer=tf1.ones_initializer())
    y = (tf.matmul(features["x"], weights) + b) * scale
    loss = tf.reduce_mean(tf.square(y - labels))
    train_op = tf1.train.GradientDescentOptimizer(0.1).minimize(
        loss, tf1.train.get_global_step(), [weights, b]
    )
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


_SAID = (
    "'layer/w_new' (near: 'layer/w')",
    "'layer/quite_another'",
    "It has 7 that the graph lacks",
    "layer/w/Adam_1",
    "warm_start_settings(checkpoint, rename={old: new})",
)


@scenario(
    _GROUP,
    raw="names one variable, and nothing of what the checkpoint has instead",
    right=lambda: dict.fromkeys((*_SAID, "in train", "in evaluate"), True),
)
def changed_model(job):
    """A new variable and a missing one: the error lists both sides, near names and what to do."""
    job.train(jobs.adam_model_fn, steps=2)
    estimator = job.estimator(_renamed_model_fn)
    found = {}
    for where, call in (
        ("in train", lambda: estimator.train(jobs.input_fn, steps=1)),
        ("in evaluate", lambda: estimator.evaluate(jobs.input_fn, steps=1)),
    ):
        found[where] = False
        try:
            call()
        except tf.errors.NotFoundError as error:  # what raw TensorFlow raises, too
            found[where] = True
            found.update({text: text in str(error) for text in _SAID})
    return found


@scenario(
    _GROUP,
    raw="has no objects: nothing is restored, and `restore` alone doesn't say so",
    right=lambda: {"consumed": True, "step": 3, "equal": True},
)
def eager_restore_consumes_all(job):
    """TF2 code: `Checkpoint(...).restore(...).assert_consumed()` on a job's checkpoint."""
    estimator = job.train(jobs.adam_model_fn, steps=3)
    values = job.values()
    with eagerly():
        step = tf.Variable(0, dtype=tf.int64)
        variables = {
            name: tf.Variable(tf.zeros_like(value))
            for name, value in values.items()
            if name != "global_step"
        }
        checkpoint = tf.train.Checkpoint(var_list=variables, step=step)
        consumed = True
        try:
            checkpoint.restore(estimator.latest_checkpoint()).assert_consumed()
        except AssertionError:
            consumed = False
        equal = all(
            np.array_equal(variable.numpy(), values[name]) for name, variable in variables.items()
        )
        return {"consumed": consumed, "step": int(step.numpy()), "equal": equal}


@scenario(_GROUP)
def two_formats_side_by_side(job):
    """TF1 checkpoints in a directory of their own, by a hook: both directories go on."""
    emitted = job.model_dir / "tf1"
    for _ in range(2):
        hook = estimator_ckpt.Tf1CheckpointSaverHook(str(emitted), keep_max=2)
        job.train(
            jobs.adam_model_fn,
            steps=3,
            hooks=[hook],
            save_checkpoints_steps=2,
            keep_checkpoint_max=3,
        )
    found = job.checkpoints(), job.values(), jobs.listed(emitted), job.values(emitted)
    jobs.assert_equal_values(found[1], found[3])
    # An unwrapped job takes the TF1 directory for its own.
    jobs.make_estimator(jobs.adam_model_fn, emitted).train(jobs.same_batch_input_fn, steps=1)
    return found, jobs.keys(emitted) == set(found[1]), job.checkpoints(), job.values(emitted)


@scenario(
    _GROUP,
    raw="takes one of the two, and drops the other",
    right=lambda: {"restored": False, "converted": ["first", "second"]},
)
def two_variables_of_one_name(job):
    """Two variables of one name in a TF2 checkpoint: neither gets what may be the other's."""
    with eagerly():
        twins = [tf.Variable(float(number), name="twin") for number in (1, 2)]
        root = tf.train.Checkpoint(first=twins[0], second=twins[1])
        prefix = root.write(str(job.folder / "twins"))
    found = {"restored": True, "converted": None}
    with tf.Graph().as_default(), tf1.Session() as session:
        twin = tf1.get_variable("twin", [])
        if job.how == "raw":
            saver = tf1.train.Saver([twin])
        else:
            saver = estimator_ckpt.CheckpointSaver(job.how, var_list=[twin])
            saver.build()
        try:
            saver.restore(session, prefix)
        except tf.errors.NotFoundError:
            found["restored"] = False
    # By name it calls them by their paths: neither has the name that would be the other's, too.
    estimator_ckpt.convert(prefix, job.folder / "by-name", to="tf1")
    listed = tf.train.list_variables(str(job.folder / "by-name"))
    found["converted"] = [name for name, _ in listed]
    return found


test_scenario = conformance_test(__name__, options=("async", "links"))
