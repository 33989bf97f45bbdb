"""Hooks that use the job's saver, saves elsewhere, and TPUEstimatorSpecs with all options."""

import os
import threading

import jobs
import tensorflow as tf
from scenarios import conformance_test, scenario

tf1 = tf.compat.v1
GROUP = "The saver in use"


class SaverUser(tf1.train.SessionRunHook):
    """Takes the Scaffold's saver in `begin`, and uses it as a `tf1.train.Saver` from then on."""

    def __init__(self, scaffold, folder):
        self.scaffold = scaffold
        self.folder = str(folder)
        self.seen = []

    def look(self):
        saver_def = self.saver.saver_def
        self.seen.append(
            (
                None if saver_def is None else (saver_def.max_to_keep, saver_def.version),
                self.saver.as_saver_def() == saver_def,
                [os.path.relpath(path, self.folder) for path in self.saver.last_checkpoints],
            )
        )

    def begin(self):
        self.saver = self.scaffold.saver
        self.look()

    def after_create_session(self, session, coord):
        self.look()

    def after_run(self, run_context, run_values):
        path = os.path.join(self.folder, "best")
        step = tf1.train.get_global_step()
        for _ in range(2):  # as a position, as a keyword
            self.saver.save(run_context.session, path, global_step=step, write_meta_graph=False)
            self.saver.save(run_context.session, path, step, None, "meta", False, False)
        self.look()

    def end(self, session):
        meta_graph = self.saver.export_meta_graph(os.path.join(self.folder, "graph"))
        self.seen.append(meta_graph.saver_def == self.saver.saver_def)
        paths = self.saver.last_checkpoints
        self.saver.recover_last_checkpoints(paths[:1])
        self.look()
        self.saver.set_last_checkpoints_with_time([(path, 1.0) for path in paths])
        self.saver.set_last_checkpoints(paths)
        self.saver.restore(session, paths[-1])
        self.look()


def _used(job, make_saver, **options):
    """Trains with a hook that uses the saver; returns what that has seen, and what is there."""
    folder = job.folder / "elsewhere"
    folder.mkdir(exist_ok=True)
    users = []

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        if mode != tf.estimator.ModeKeys.TRAIN:
            return spec
        scaffold = tf1.train.Scaffold(saver=make_saver())
        users.append(SaverUser(scaffold, folder))
        return spec._replace(scaffold=scaffold, training_hooks=[users[-1]])

    for _ in range(2):
        estimator = jobs.make_estimator(
            job.wrap(model_fn, **options), job.model_dir, save_checkpoints_steps=2
        )
        estimator.train(jobs.same_batch_input_fn, steps=3)
    seen = [user.seen for user in users]
    return seen, job.checkpoints(), job.values(), _indices(folder), _indices(job.model_dir)


def _indices(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".index"))


@scenario(GROUP, asynchronous="the hook sees the list of checkpoints before one is written")
def a_hook_uses_a_saver_that_is_built(job):
    """A hook takes a Saver of the Scaffold in `begin()`, and saves, exports and recovers."""
    return _used(job, lambda: tf1.train.Saver(max_to_keep=6, sharded=True))


@scenario(GROUP, asynchronous="the hook sees the list of checkpoints before one is written")
def a_hook_uses_a_saver_that_is_built_later(job):
    """The same with a Saver that is still to be built then."""
    return _used(job, lambda: tf1.train.Saver(max_to_keep=6, defer_build=True))


@scenario(GROUP)
def a_hook_uses_the_default_saver(job):
    """A hook takes the saver of the SAVERS collection in `begin()`, as monitoring hooks do."""

    class Hook(tf1.train.SessionRunHook):
        def begin(self):
            (self.saver,) = tf1.get_collection(tf1.GraphKeys.SAVERS)

        def end(self, session):
            self.path = self.saver.save(session, str(job.folder / "copy"), write_state=False)

    hook = Hook()
    job.train(jobs.adam_model_fn, steps=2, hooks=[hook])
    return os.path.basename(hook.path), jobs.values(hook.path), job.checkpoints(), job.values()


class Listener(tf1.train.CheckpointSaverListener):
    """Notes the steps that are saved."""

    def __init__(self):
        self.steps = []
        self.threads = set()

    def after_save(self, session, global_step_value):
        self.threads.add(threading.current_thread())
        self.steps.append(int(global_step_value))


def _saves_elsewhere(job, make_hooks, steps):
    """Trains a job that emits, too, with hooks that save elsewhere; emitted is what the job has."""
    listener = Listener()
    emitted = job.folder / "tf1"

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        if mode != tf.estimator.ModeKeys.TRAIN:
            return spec
        scaffold = tf1.train.Scaffold(saver=tf1.train.Saver(max_to_keep=20))
        return spec._replace(scaffold=scaffold, training_hooks=make_hooks(scaffold))

    model_fn = job.wrap(model_fn, tf1_dir=str(emitted), saving_listeners=[listener])
    estimator = jobs.make_estimator(model_fn, job.model_dir, save_checkpoints_steps=2)
    listeners = [listener] if job.how == "raw" else []
    estimator.train(jobs.same_batch_input_fn, steps=5, saving_listeners=listeners)
    if job.how != "raw":
        assert [f"model.ckpt-{step}" for step in steps[-5:]] == jobs.listed(emitted)
    return listener.steps, _indices(job.model_dir), job.values(), _indices(job.folder / "best")


@scenario(GROUP)
def a_hook_saves_elsewhere(job):
    """A hook keeps the best model with the job's Saver: neither emitted nor told to listeners."""

    class Best(tf1.train.SessionRunHook):
        def __init__(self, scaffold):
            self.scaffold = scaffold

        def after_run(self, run_context, run_values):
            step = run_context.session.run(tf1.train.get_global_step())
            if step in (1, 3):
                path = str(job.folder / "best" / "m")
                self.scaffold.saver.save(run_context.session, path, global_step=step)

    (job.folder / "best").mkdir()
    found = _saves_elsewhere(job, lambda scaffold: [Best(scaffold)], [0, 2, 4, 5])
    return *found, jobs.values(job.folder / "best" / "m-3")


@scenario(GROUP)
def a_second_saving_hook_saves_elsewhere(job):
    """Two CheckpointSaverHooks, one of which saves into another directory."""

    def hooks(scaffold):
        return [
            tf1.train.CheckpointSaverHook(str(folder), save_steps=steps, scaffold=scaffold)
            for folder, steps in ((job.model_dir, 2), (job.folder / "best", 1))
        ]

    (job.folder / "best").mkdir()
    found = _saves_elsewhere(job, hooks, [0, 2, 4, 5])
    return *found, jobs.values(job.folder / "best" / "model.ckpt-3")


def _tpu_model_fn(features, labels, mode, params):
    del params
    spec = jobs.adam_model_fn({"x": features}, labels, mode)
    make = tf1.estimator.tpu.TPUEstimatorSpec
    return make(mode, loss=spec.loss, train_op=spec.train_op, training_hooks=[HookOfItsOwn()])


class HookOfItsOwn(tf1.train.SessionRunHook):
    pass


def _trained_tpu_estimator(job, **options):
    def input_fn(params):
        del params
        return tf.data.Dataset.from_tensors((jobs.FEATURES[:8], jobs.LABELS[:8])).repeat()

    listener = Listener()
    config = tf1.estimator.tpu.RunConfig(
        model_dir=str(job.model_dir), tf_random_seed=1, save_checkpoints_steps=2
    )
    types = []

    def watched(features, labels, mode, params, config):
        wrapped = job.wrap(_tpu_model_fn, saving_listeners=[listener], **options)
        more = {} if job.how == "raw" else {"config": config}
        spec = wrapped(features, labels, mode, params, **more)
        types.append(type(spec.training_hooks).__name__)
        return spec

    estimator = tf1.estimator.tpu.TPUEstimator(
        watched, config=config, use_tpu=False, train_batch_size=8
    )
    listeners = [listener] if job.how == "raw" else []
    for _ in range(2):
        estimator.train(input_fn, steps=3, saving_listeners=listeners)
    if job.how != "raw" and options.get("async_save"):
        assert threading.main_thread() not in listener.threads
    return listener.steps, types, job.checkpoints(), job.values()


@scenario(GROUP)
def tpu_estimator_spec_with_listeners_and_tf1_dir(job):
    """TPUEstimatorSpec (use_tpu=False) with saving listeners and a TF1 directory."""
    emitted = job.folder / "tf1"
    found = _trained_tpu_estimator(job, tf1_dir=str(emitted))
    assert job.how == "raw" or jobs.listed(emitted) == job.checkpoints()
    return found


@scenario(GROUP)
def tpu_estimator_spec_that_saves_in_the_background(job):
    """TPUEstimatorSpec (use_tpu=False) with async_save, listeners and a TF1 directory."""
    emitted = job.folder / "tf1"
    found = _trained_tpu_estimator(job, tf1_dir=str(emitted), async_save=True)
    assert job.how == "raw" or jobs.listed(emitted) == job.checkpoints()
    return found


test_scenario = conformance_test(__name__)
