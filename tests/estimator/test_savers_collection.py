"""The SAVERS collection, where hooks look for the saver, in each mode and strategy."""

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import describe, wrap_model_fn

tf1 = tf.compat.v1
STRATEGIES = {
    "none": lambda: None,
    "one": lambda: tf.distribute.OneDeviceStrategy("/cpu:0"),
    "mirrored": lambda: tf.distribute.MirroredStrategy(["/cpu:0"]),
}


class Looking(tf1.train.SessionRunHook):
    """Looks the saver up once the graph is finalized, and saves with it, as people's hooks do."""

    def __init__(self, path):
        self.path = str(path)
        self.saved = None

    def end(self, session):
        savers = tf1.get_collection(tf1.GraphKeys.SAVERS)
        if savers:
            self.saved = savers[0].save(session, self.path, write_state=False)


def _estimator(how, name, model_dir, model_fn=jobs.adam_model_fn):
    if how != "raw":
        model_fn = wrap_model_fn(model_fn, checkpoint_format="dual", async_save=how == "async")
    strategy = STRATEGIES[name]()
    config = {"train_distribute": strategy, "eval_distribute": strategy} if strategy else {}
    return jobs.make_estimator(model_fn, model_dir, **config)


@pytest.mark.parametrize("how", ["raw", "dual"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_hook_finds_the_saver_in_each_mode(tmp_path, name, how):
    estimator = _estimator(how, name, tmp_path / "job")
    hooks = {mode: Looking(tmp_path / mode) for mode in ("train", "evaluate", "predict")}
    estimator.train(jobs.same_batch_input_fn, steps=1, hooks=[hooks["train"]])
    estimator.evaluate(jobs.same_batch_input_fn, steps=1, hooks=[hooks["evaluate"]])
    list(estimator.predict(lambda: jobs.same_batch_input_fn().take(1), hooks=[hooks["predict"]]))
    names = {"layer/w", "layer/b", "global_step"}
    for mode, hook in hooks.items():
        assert hook.saved is not None, mode
        assert names <= {row.name for row in describe(hook.saved).variables}, mode


@pytest.mark.parametrize("how", ["raw", "dual", "async"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_saving_hook_of_the_users_own_saves_the_job(tmp_path, name, how):
    estimator = _estimator(how, name, tmp_path)
    for _ in range(2):
        hook = tf1.train.CheckpointSaverHook(str(tmp_path), save_steps=2)
        estimator.train(jobs.same_batch_input_fn, steps=2, hooks=[hook])
    found = describe(estimator.latest_checkpoint())
    assert found.step == 4
    assert found.format == ("tf1" if how == "raw" else "dual")
    events = [
        event.WhichOneof("what")
        for path in sorted(tmp_path.glob("events.*"))
        for event in tf1.train.summary_iterator(str(path))
    ]
    assert events.count("graph_def") == 3  # of two runs, raw too


@pytest.mark.parametrize("how", ["raw", "dual"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_saver_of_the_scaffold_alone_is_not_collected(tmp_path, name, how):
    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=tf1.train.Saver()))

    estimator = _estimator(how, name, tmp_path / "job", model_fn)
    hook = Looking(tmp_path / "looked")
    estimator.train(jobs.same_batch_input_fn, steps=1, hooks=[hook])
    assert hook.saved is None
