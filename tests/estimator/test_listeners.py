"""The saving_listeners of wrap_model_fn: called exactly as Estimator calls those of train()."""

import jobs
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointArgumentError, wrap_model_fn

tf1 = tf.compat.v1


class Recorder(tf1.train.CheckpointSaverListener):
    """Notes its calls; asks for a stop after saving one step."""

    def __init__(self, stop_at=None):
        self.calls = []
        self._stop_at = stop_at

    def begin(self):
        self.calls.append("begin")

    def before_save(self, session, global_step_value):
        self.calls.append(("before", global_step_value))

    def after_save(self, session, global_step_value):
        self.calls.append(("after", global_step_value))
        return global_step_value == self._stop_at

    def end(self, session, global_step_value):
        self.calls.append(("end", global_step_value))


def _train(model_fn, model_dir, *, hook, **settings):
    estimator = jobs.make_estimator(model_fn, model_dir, save_checkpoints_steps=2)
    # Estimator's saving hook comes before the others; one of the user's own, among `hooks`, after.
    hooks = [tf1.train.CheckpointSaverHook(str(model_dir), save_steps=2)] if hook else []
    estimator.train(jobs.input_fn, steps=7, hooks=hooks, **settings)


@pytest.mark.parametrize("hook", [False, True], ids=["estimators_hook", "own_hook"])
@pytest.mark.parametrize("stop_at", [None, 0, 4, 7])
def test_listeners_are_called_as_those_of_train(tmp_path, hook, stop_at):
    expected, found = Recorder(stop_at), Recorder(stop_at)
    _train(jobs.adam_model_fn, tmp_path / "raw", hook=hook, saving_listeners=[expected])
    model_fn = wrap_model_fn(jobs.adam_model_fn, saving_listeners=[found])
    _train(model_fn, tmp_path / "wrapped", hook=hook)
    assert found.calls == expected.calls
    assert found.calls[-1] == ("end", 4 if stop_at == 4 else 7)


def test_listeners_go_with_other_hooks_and_are_told_of_every_run(tmp_path):
    recorder = Recorder()
    wrapped = wrap_model_fn(
        jobs.adam_model_fn, tf1_dir=str(tmp_path / "tf1"), saving_listeners=[recorder]
    )
    for _ in range(2):
        _train(wrapped, tmp_path / "job", hook=False)
    assert [call for call in recorder.calls if call[0] == "end"] == [("end", 7), ("end", 14)]
    assert recorder.calls.count("begin") == 2
    assert jobs.listed(tmp_path / "tf1") == jobs.listed(tmp_path / "job")


def test_a_saver_of_its_own_kind_tells_no_listeners(tmp_path):
    class Saver(tf1.train.Saver):
        pass

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=Saver()))

    wrapped = wrap_model_fn(model_fn, saving_listeners=[Recorder()])
    with pytest.raises(CheckpointArgumentError, match="give saving_listeners to Estimator"):
        _train(wrapped, tmp_path, hook=False)
