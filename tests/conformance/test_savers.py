"""The user's own saver: what it saves, keeps, renames and swaps stays so."""

import os

import jobs
import numpy as np
import tensorflow as tf
from scenarios import conformance_test, scenario, v1_behavior

from estimator_ckpt import naming

tf1 = tf.compat.v1
GROUP = "The user's own saver"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def _with_saver(make_saver, *, modes=("train", "eval", "infer"), collected=False, **scaffold):
    """Adam's model_fn with a saver of its own, in the Scaffold or in the SAVERS collection."""

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        if mode not in modes:
            return spec
        saver = make_saver()
        if collected:
            tf1.add_to_collection(tf1.GraphKeys.SAVERS, saver)
            return spec
        fields = {name: make() for name, make in scaffold.items()}
        return spec._replace(scaffold=tf1.train.Scaffold(saver=saver, **fields))

    return model_fn


def _object_keys(path):
    return sorted(key for key in jobs.keys(path) if naming.is_object_key(key))


def _files(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".index"))


@scenario(GROUP)
def saver_in_the_scaffold_keeps_its_number(job):
    """A Saver in the Scaffold with `max_to_keep`, against RunConfig's own."""
    model_fn = _with_saver(lambda: tf1.train.Saver(max_to_keep=2))
    for _ in range(2):
        job.train(model_fn, steps=3, save_checkpoints_steps=1, keep_checkpoint_max=4)
    return job.checkpoints(), _files(job.model_dir), job.values()


@scenario(GROUP)
def saver_in_the_collection_keeps_its_number(job):
    """A Saver in the SAVERS collection with `max_to_keep`."""
    model_fn = _with_saver(lambda: tf1.train.Saver(max_to_keep=2), collected=True)
    for _ in range(2):
        estimator = job.train(model_fn, steps=3, save_checkpoints_steps=1, keep_checkpoint_max=4)
    metrics = estimator.evaluate(jobs.same_batch_input_fn, steps=1)
    return job.checkpoints(), _files(job.model_dir), job.values(), metrics


@scenario(GROUP)
def saver_that_keeps_all(job):
    """A Saver with `max_to_keep=None`, a deferred one and one that is not sharded."""
    found = []
    for number, options in enumerate(
        ({"max_to_keep": None}, {"defer_build": True, "sharded": True}, {"sharded": False})
    ):
        model_dir = job.folder / str(number)
        model_fn = _with_saver(lambda options=options: tf1.train.Saver(**options))
        job.train(model_fn, steps=7, save_checkpoints_steps=1, model_dir=model_dir)
        found.append((jobs.listed(model_dir), _files(model_dir), job.values(model_dir)))
    return found


def _without_slots():
    return [v for v in tf1.global_variables() if "Adam" not in v.name and "power" not in v.name]


@scenario(GROUP)
def saver_of_some_variables(job):
    """A Saver of some variables: the others are not saved, and start anew."""

    def start_the_others():
        saved = {variable.name for variable in _without_slots()}
        others = [variable for variable in tf1.global_variables() if variable.name not in saved]
        return tf.group(tf1.local_variables_initializer(), tf1.variables_initializer(others))

    model_fn = _with_saver(
        lambda: tf1.train.Saver(_without_slots()),
        local_init_op=start_the_others,
        ready_for_local_init_op=lambda: tf.constant([], tf.string),
    )
    for _ in range(2):
        job.train(model_fn, steps=3)
    values = job.values()
    assert sorted(values) == ["global_step", "layer/b", "layer/w"]
    return values


@scenario(GROUP)
def saver_with_a_name_map(job):
    """A Saver with a name map: the checkpoint has those names."""

    def saver():
        variables = {v.op.name: v for v in tf1.global_variables()}
        return tf1.train.Saver(
            {name.replace("layer", "net/fc"): variable for name, variable in variables.items()}
        )

    for _ in range(2):
        estimator = job.train(_with_saver(saver), steps=3)
    values = job.values()
    assert {"net/fc/w", "net/fc/b/Adam"} < set(values)
    return values, estimator.evaluate(jobs.same_batch_input_fn, steps=1)


def _averaging_model_fn(swap, collected=False):
    """Trains averages of the weights too, which EVAL and PREDICT restore if `swap`."""

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        averages = tf1.train.ExponentialMovingAverage(0.9)
        if mode == tf.estimator.ModeKeys.TRAIN:
            with tf.control_dependencies([spec.train_op]):
                return spec._replace(train_op=averages.apply(tf1.trainable_variables()))
        if not swap:
            return spec
        saver = tf1.train.Saver(averages.variables_to_restore())
        if collected:
            tf1.add_to_collection(tf1.GraphKeys.SAVERS, saver)
            return spec
        return spec._replace(scaffold=tf1.train.Scaffold(saver=saver))

    return model_fn


def _served(estimator, folder):
    """What the exported model gives."""
    exported = estimator.export_saved_model(str(folder), jobs.serving_input_fn).decode()
    with tf.Graph().as_default(), tf1.Session() as session:
        meta = tf1.saved_model.load(session, ["serve"], exported)
        signature = meta.signature_def["serving_default"]
        return session.run(
            signature.outputs["y"].name, {signature.inputs["x"].name: jobs.FEATURES[:2]}
        )


def _averages(job, collected):
    job.train(_averaging_model_fn(swap=True, collected=collected), steps=5)
    found = {}
    for swap in (True, False):
        estimator = job.estimator(_averaging_model_fn(swap, collected))
        found[str(swap)] = {
            "metrics": estimator.evaluate(jobs.same_batch_input_fn, steps=1),
            "prediction": next(estimator.predict(jobs.same_batch_input_fn))["y"],
            "served": _served(estimator, job.folder / f"export-{swap}"),
        }
    assert found["True"]["metrics"]["loss"] > found["False"]["metrics"]["loss"] + 0.01
    served = found["True"]["served"], found["False"]["served"]
    # TensorFlow itself looks for a saver in that collection everywhere but in an export.
    assert np.array_equal(*served) == collected
    return found


@scenario(GROUP)
def averages_are_evaluated_and_exported(job):
    """A Saver that swaps in moving averages in EVAL, PREDICT and export."""
    return _averages(job, collected=False)


@scenario(GROUP)
def averages_by_the_collection(job):
    """The same Saver in the SAVERS collection."""
    return _averages(job, collected=True)


def _own_checkpoint_model_fn(features, labels, mode):
    """A model_fn that followed the migration guide, with objects of its own."""
    w = tf1.get_variable("w", [4, 3], initializer=tf1.glorot_uniform_initializer(seed=1))
    b = tf1.get_variable("b", [3], initializer=tf1.zeros_initializer())
    loss = tf.reduce_mean(tf.square(tf.matmul(features["x"], w) + b - labels))
    step = tf1.train.get_or_create_global_step()
    optimizer = tf1.train.MomentumOptimizer(0.1, 0.9)
    train_op = optimizer.minimize(loss, global_step=step)
    checkpoint = tf.train.Checkpoint(
        net=tf.train.Checkpoint(kernel=w, bias=b), optimizer=optimizer, steps=step
    )
    return tf.estimator.EstimatorSpec(
        mode, loss=loss, train_op=train_op, scaffold=tf1.train.Scaffold(saver=checkpoint)
    )


def _loaded_by_object(path):
    """What code that holds the same objects finds in a checkpoint."""
    with tf.Graph().as_default(), tf1.Session() as session:
        w, b, steps = tf.Variable(tf.zeros([4, 3])), tf.Variable(tf.zeros([3])), tf.Variable(0)
        steps = tf.Variable(tf.zeros([], tf.int64))
        checkpoint = tf.train.Checkpoint(net=tf.train.Checkpoint(kernel=w, bias=b), steps=steps)
        status = checkpoint.read(path)
        status.assert_existing_objects_matched()
        status.initialize_or_restore(session)
        return session.run({"w": w, "b": b, "steps": steps})


@scenario(GROUP)
def own_checkpoint_keeps_its_layout(job):
    """A model_fn that brings a `tf.train.Checkpoint` keeps its layout."""
    for _ in range(2):
        estimator = job.train(_own_checkpoint_model_fn, steps=3)
    path = estimator.latest_checkpoint()
    return {
        "keys": _object_keys(path),
        "loaded": _loaded_by_object(path),
        "metrics": estimator.evaluate(jobs.same_batch_input_fn, steps=1),
    }


@scenario(
    GROUP,
    raw="does not accept it",
    raw_fails=True,
    right=lambda: {"keys": ["net/bias" + jobs.VALUE, "net/kernel" + jobs.VALUE], "step": 6},
)
def checkpoint_of_the_first_version(job):
    """A `tf.compat.v1.train.Checkpoint` as the Scaffold's saver."""

    def model_fn(features, labels, mode):
        spec = _own_checkpoint_model_fn(features, labels, mode)
        w, b = tf1.trainable_variables()
        net = tf1.train.Checkpoint(kernel=w, bias=b)
        step = tf1.train.get_global_step()
        momentum = [v for v in tf1.global_variables() if "Momentum" in v.name]
        checkpoint = tf1.train.Checkpoint(net=net, step=step, momentum=momentum)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=checkpoint))

    for _ in range(2):
        estimator = job.train(model_fn, steps=3)
    path = estimator.latest_checkpoint()
    metrics = estimator.evaluate(jobs.same_batch_input_fn, steps=1)
    keys = [key for key in _object_keys(path) if key.startswith("net/")]
    return {"keys": keys, "step": metrics["global_step"]}


def _keras_model():
    layers = tf.keras.layers
    ones = tf.keras.initializers.Constant(0.1)
    model = tf.keras.Sequential(
        [
            layers.Dense(2, "relu", name="hidden", kernel_initializer=ones, input_shape=(4,)),
            layers.Dense(3, name="out", kernel_initializer=ones),
        ]
    )
    model.compile(tf.keras.optimizers.legacy.Adam(0.1), "mse", metrics=["mae"])
    return model


def _keras_input_fn():
    return tf.data.Dataset.from_tensors((jobs.FEATURES[:8], jobs.LABELS[:8])).repeat()


def _keras_job(job, checkpoint_format):
    """Trains `model_to_estimator`'s Estimator as it is, and goes on with it wrapped."""
    config = tf.estimator.RunConfig(tf_random_seed=1, log_step_count_steps=None)
    for wrap in (lambda model_fn: model_fn, job.wrap, job.wrap):
        tf.keras.backend.clear_session()
        made = tf.keras.estimator.model_to_estimator(
            _keras_model(),
            model_dir=job.model_dir,
            config=config,
            checkpoint_format=checkpoint_format,
        )
        estimator = tf.estimator.Estimator(
            wrap(made._model_fn), config=made.config, warm_start_from=made._warm_start_settings
        )
        estimator.train(_keras_input_fn, steps=2)
    return estimator


@scenario(GROUP, slow=True)
def model_to_estimator_by_name(job):
    """`model_to_estimator(checkpoint_format="saver")`."""
    estimator = _keras_job(job, "saver")
    return job.values(), estimator.evaluate(_keras_input_fn, steps=1)


@scenario(GROUP)
def model_to_estimator_by_object(job):
    """`model_to_estimator(checkpoint_format="checkpoint")` keeps the model's layout."""
    estimator = _keras_job(job, "checkpoint")
    path = estimator.latest_checkpoint()
    reader = tf.train.load_checkpoint(path)
    found = {
        "values": {key: reader.get_tensor(key) for key in _object_keys(path)},
        "metrics": estimator.evaluate(_keras_input_fn, steps=1),
    }
    if not v1_behavior():  # load_weights reads them at once only eagerly
        model = _keras_model()
        model.load_weights(path).expect_partial()
        found["loaded"] = model.get_weights()
    return found


class _OwnHook(tf1.train.CheckpointSaverHook):
    """A hook of the user's own that counts its saves."""

    saves = 0

    def _save(self, session, step):
        self.saves += 1
        return super()._save(session, step)


def _hook_job(job, settings, place, hook_class=tf1.train.CheckpointSaverHook):
    """Trains twice with a CheckpointSaverHook of the user's own."""
    model_dir = job.folder / f"job-{len(list(job.folder.iterdir()))}"
    made = []

    def hook(scaffold):
        given = {}
        if settings == "scaffold":
            given["scaffold"] = scaffold
        elif settings == "saver":
            given["saver"] = tf1.train.Saver(max_to_keep=2)
        made.append(hook_class(str(model_dir), save_steps=2, **given))
        return made[-1]

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        if mode != tf.estimator.ModeKeys.TRAIN:
            return spec
        scaffold = tf1.train.Scaffold()
        spec = spec._replace(scaffold=scaffold)
        if place == "hooks":
            return spec
        return spec._replace(**{place: [hook(scaffold)]})

    for _ in range(2):
        hooks = [hook(None)] if place == "hooks" else None
        estimator = job.train(
            model_fn, steps=5, hooks=hooks, model_dir=model_dir, save_checkpoints_steps=3
        )
    return {
        "checkpoints": jobs.listed(model_dir),
        "files": _files(model_dir),
        "values": job.values(model_dir),
        "step": estimator.evaluate(jobs.same_batch_input_fn, steps=1)["global_step"],
        "saves": [hook.saves for hook in made] if hook_class is _OwnHook else None,
    }


@scenario(GROUP, slow=True)
def own_checkpoint_saver_hook(job):
    """A CheckpointSaverHook in `hooks`, `training_hooks` and `training_chief_hooks`."""
    return [
        _hook_job(job, "nothing", place)
        for place in ("hooks", "training_hooks", "training_chief_hooks")
    ]


@scenario(GROUP, slow=True)
def own_checkpoint_saver_hook_with_scaffold_or_saver(job):
    """A CheckpointSaverHook with `scaffold=` or with `saver=`."""
    return [_hook_job(job, settings, "training_hooks") for settings in ("scaffold", "saver")]


@scenario(GROUP)
def subclass_of_checkpoint_saver_hook(job):
    """A subclass of CheckpointSaverHook saves as often as it did."""
    return [
        _hook_job(job, "nothing", "hooks", _OwnHook),
        _hook_job(job, "scaffold", "training_hooks", _OwnHook),
    ]


class _OwnSaver(tf1.train.Saver):
    """A Saver of the user's own that writes down what it is asked for."""

    def __init__(self, notes, **options):
        super().__init__(**options)
        self._notes = notes

    def save(self, sess, save_path, *args, **kwargs):
        self._notes.append("save " + os.path.basename(save_path))
        return super().save(sess, save_path, *args, **kwargs)

    def restore(self, sess, save_path):
        self._notes.append("restore " + os.path.basename(save_path))
        super().restore(sess, save_path)


@scenario(GROUP)
def own_class_of_saver(job):
    """A Saver of a class of the user's own stays that one."""
    notes = []
    model_fn = _with_saver(lambda: _OwnSaver(notes, max_to_keep=2))
    for _ in range(2):
        estimator = job.train(model_fn, steps=3, save_checkpoints_steps=1)
    metrics = estimator.evaluate(jobs.same_batch_input_fn, steps=1)
    return notes, sorted(jobs.keys(job.model_dir)), job.values(), job.checkpoints(), metrics


test_scenario = conformance_test(__name__, options=("async", "links"))
