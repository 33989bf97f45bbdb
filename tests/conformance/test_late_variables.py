"""Variables made late: those of hooks, averages and optimizers are saved and restored too."""

import jobs
import tensorflow as tf
from scenarios import conformance_test, scenario

tf1 = tf.compat.v1
GROUP = "Variables made late"


def _error(train):
    """What kind of error a call ends with, of those that TensorFlow has for a failed restore."""
    try:
        train()
    except (tf.errors.NotFoundError, RuntimeError) as error:
        return "not found" if isinstance(error, tf.errors.NotFoundError) else "not initialized"
    return "none"


def _with_and_without(job, make_hooks):
    """Trains with hooks and without them, one after the other; returns what can be observed."""
    found = {}
    for first, then in (("with", "with"), ("with", "without"), ("without", "with")):
        model_dir = job.folder / f"{first}-{then}"

        def train(how, model_dir=model_dir):
            estimator = job.estimator(jobs.adam_model_fn, model_dir)
            hooks = make_hooks(estimator) if how == "with" else None
            estimator.train(jobs.same_batch_input_fn, steps=2, hooks=hooks)

        train(first)
        error = _error(lambda train=train, then=then: train(then))
        found[f"{first}, then {then}"] = {"error": error, "values": job.values(model_dir)}
    assert [each["error"] for each in found.values()] == ["none", "none", "not found"]
    return found


@scenario(GROUP)
def early_stopping_resumes(job):
    """`stop_if_no_decrease_hook`, whose bool is made in `begin()`; resumed with and without it."""

    def hooks(estimator):
        return [
            tf.estimator.experimental.stop_if_no_decrease_hook(
                estimator,
                "loss",
                max_steps_without_decrease=10**6,
                run_every_secs=None,
                run_every_steps=1,
            )
        ]

    found = _with_and_without(job, hooks)
    assert not found["with, then with"]["values"]["signal_early_stopping/STOP"]
    return found


@scenario(GROUP)
def early_stopping_stops(job):
    """`make_early_stopping_hook` stops, and the bool that says so is saved."""
    estimator = job.estimator(jobs.adam_model_fn)
    asked = []

    def should_stop():
        asked.append(len(asked))
        return len(asked) > 2

    def hooks():
        return [
            tf.estimator.experimental.make_early_stopping_hook(
                estimator, should_stop, run_every_secs=None, run_every_steps=1
            )
        ]

    estimator.train(jobs.same_batch_input_fn, steps=9, hooks=hooks())
    stopped = job.values()
    assert stopped["signal_early_stopping/STOP"]
    assert stopped["global_step"] < 9
    estimator.train(jobs.same_batch_input_fn, steps=2)
    return stopped, job.values(), asked


class _CountingHook(tf1.train.SessionRunHook):
    """Counts the steps in a variable that it makes in begin()."""

    def begin(self):
        self._count = tf1.get_variable(
            "hook/count", [], tf.int64, tf1.zeros_initializer(), trainable=False
        )
        self._add = tf1.assign_add(self._count, 1)

    def before_run(self, run_context):
        del run_context
        return tf1.train.SessionRunArgs(self._add)


@scenario(GROUP)
def counter_of_a_hook(job):
    """A variable that a hook of the user's own makes in `begin()`; resumed with and without it."""
    found = _with_and_without(job, lambda estimator: [_CountingHook()])
    assert found["with, then with"]["values"]["hook/count"] == 4
    return found


@scenario(GROUP)
def counter_of_a_hook_in_the_spec(job):
    """The same in `training_hooks` and `training_chief_hooks` of the EstimatorSpec."""
    found = []
    for place in ("training_hooks", "training_chief_hooks"):

        def model_fn(features, labels, mode):
            spec = jobs.adam_model_fn(features, labels, mode)
            return spec._replace(**{place: [_CountingHook()]})  # noqa: B023 - called in this turn

        for _ in range(2):
            job.train(model_fn, steps=3, model_dir=job.folder / place)
        found.append(job.values(job.folder / place))
        assert found[-1]["hook/count"] == 6
    return found


class _AveragingHook(tf1.train.SessionRunHook):
    """Makes averages of the weights in begin(), and updates them after each step."""

    def begin(self):
        averages = tf1.train.ExponentialMovingAverage(0.5)
        self._apply = averages.apply(tf1.trainable_variables())

    def after_run(self, run_context, run_values):
        del run_values
        run_context.session.run(self._apply)


@scenario(GROUP)
def averages_of_a_hook(job):
    """Moving averages that a hook makes in `begin()`."""
    for _ in range(2):
        job.train(jobs.adam_model_fn, steps=2, hooks=[_AveragingHook()])
    assert "layer/w/ExponentialMovingAverage" in job.values()
    return job.values()


@scenario(GROUP)
def averages_of_the_model_fn(job):
    """Moving averages with their own step counts: 6 steps equal 3 and 3."""

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        if mode != tf.estimator.ModeKeys.TRAIN:
            return spec
        averages = tf1.train.ExponentialMovingAverage(
            0.9, num_updates=tf1.train.get_global_step(), zero_debias=True
        )
        with tf.control_dependencies([spec.train_op]):
            return spec._replace(train_op=averages.apply([spec.loss, *tf1.trainable_variables()]))

    job.train(model_fn, steps=6, model_dir=job.folder / "at-once")
    for _ in range(2):
        job.train(model_fn, steps=3)
    jobs.assert_equal_values(job.values(), job.values(job.folder / "at-once"))
    return job.values()


@scenario(GROUP)
def another_optimizer(job):
    """Another optimizer than before: its slots are missing, and the error says so."""

    def with_momentum(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        optimizer = tf1.train.MomentumOptimizer(0.1, 0.9)
        step = tf1.train.get_global_step()
        return spec._replace(train_op=optimizer.minimize(spec.loss, global_step=step))

    job.train(with_momentum, steps=3)
    job.train(jobs.adam_model_fn, steps=2)  # fewer variables than the checkpoint has
    error = _error(lambda: job.train(with_momentum, steps=2))
    assert error == "not found"
    return error, job.values()


test_scenario = conformance_test(__name__)
