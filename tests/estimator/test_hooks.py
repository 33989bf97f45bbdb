"""Name-based checkpoints beside those of a job, wrapped and not."""

import os

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import (
    CheckpointArgumentError,
    Tf1CheckpointListener,
    Tf1CheckpointSaverHook,
    wrap_model_fn,
)

tf1 = tf.compat.v1


@pytest.fixture
def dirs(tmp_path):
    return tmp_path / "job", tmp_path / "tf1"


@pytest.fixture(params=["raw", "tf2", "dual"])
def model_fn(request):
    if request.param == "raw":
        return jobs.adam_model_fn
    return wrap_model_fn(jobs.adam_model_fn, checkpoint_format=request.param)


def _inodes(directory):
    return {
        os.stat(path).st_ino for path in directory.glob("*.data-*") if os.stat(path).st_size > 0
    }


def _assert_equal_at_every_step(job, emitted):
    names = jobs.listed(emitted)
    for name in names:
        by_name = jobs.values(emitted / name)
        assert jobs.keys(emitted / name) == set(by_name)
        jobs.assert_equal_values(by_name, jobs.values(job / name))
        with tf.Graph().as_default(), tf1.Session() as session:
            for key, value in by_name.items():
                tf1.get_variable(key, value.shape, value.dtype)
            tf1.train.Saver().restore(session, str(emitted / name))
    return names


def test_tf1_dir_emits_each_checkpoint_and_writes_no_tensor_twice(dirs):
    job, emitted = dirs
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted))
    jobs.make_estimator(wrapped, job, save_checkpoints_steps=2).train(jobs.input_fn, steps=5)
    names = _assert_equal_at_every_step(job, emitted)
    assert names == jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 5)]
    assert _inodes(job) == _inodes(emitted)


def test_a_listener_emits_each_checkpoint_and_writes_no_tensor_twice(dirs, model_fn):
    job, emitted = dirs
    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(
        jobs.input_fn, steps=5, saving_listeners=[Tf1CheckpointListener(str(emitted))]
    )
    names = _assert_equal_at_every_step(job, emitted)
    assert names == jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 5)]
    assert _inodes(job) == _inodes(emitted)


def test_a_hook_emits_each_checkpoint_the_final_one_included(dirs, model_fn):
    job, emitted = dirs
    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(
        jobs.input_fn, steps=5, hooks=[Tf1CheckpointSaverHook(str(emitted))]
    )
    names = _assert_equal_at_every_step(job, emitted)
    assert names == jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 5)]
    assert _inodes(emitted) == _inodes(job)


def test_a_hook_of_the_spec_links_every_checkpoint_of_an_unwrapped_job(dirs):
    job, emitted = dirs

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(training_hooks=[Tf1CheckpointSaverHook(str(emitted))])

    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(jobs.input_fn, steps=5)
    assert _assert_equal_at_every_step(job, emitted) == jobs.listed(job)
    assert _inodes(job) == _inodes(emitted)


def test_a_hook_can_have_a_pace_of_its_own(dirs, model_fn):
    job, emitted = dirs
    hook = Tf1CheckpointSaverHook(str(emitted), save_steps=3)
    jobs.make_estimator(model_fn, job, save_checkpoints_steps=2).train(
        jobs.input_fn, steps=8, hooks=[hook]
    )
    assert jobs.listed(emitted) == [f"model.ckpt-{n}" for n in (0, 3, 6, 8)]
    assert jobs.listed(job) == [f"model.ckpt-{n}" for n in (0, 2, 4, 6, 8)]
    for name in ("model.ckpt-0", "model.ckpt-6", "model.ckpt-8"):
        jobs.assert_equal_values(jobs.values(emitted / name), jobs.values(job / name))
    assert jobs.values(emitted / "model.ckpt-3")["global_step"] == 3


def test_the_jobs_own_saving_is_undisturbed(dirs):
    job, emitted = dirs
    plain = emitted.parent / "plain"
    for model_dir, hooks in ((plain, []), (job, [Tf1CheckpointSaverHook(str(emitted))])):
        estimator = jobs.make_estimator(jobs.adam_model_fn, model_dir, save_checkpoints_steps=2)
        estimator.train(jobs.input_fn, steps=5, hooks=hooks)
    assert jobs.listed(job) == jobs.listed(plain)
    for name in jobs.listed(plain):
        jobs.assert_equal_values(jobs.values(plain / name), jobs.values(job / name))


def test_the_directory_keeps_its_own_number_across_runs(dirs):
    job, emitted = dirs
    for _ in range(2):
        estimator = jobs.make_estimator(jobs.adam_model_fn, job, save_checkpoints_steps=1)
        hook = Tf1CheckpointSaverHook(str(emitted), keep_max=2)
        estimator.train(jobs.input_fn, steps=2, hooks=[hook])
    assert jobs.listed(emitted) == ["model.ckpt-3", "model.ckpt-4"]
    assert len(list(emitted.glob("*.index"))) == 2
    assert len(jobs.listed(job)) == 5


@pytest.mark.parametrize("how", ["hooks", "saving_listeners"])
def test_a_job_that_keeps_all_checkpoints_emits_and_links_them_too(dirs, model_fn, how):
    job, emitted = dirs
    make = Tf1CheckpointSaverHook if how == "hooks" else Tf1CheckpointListener
    estimator = jobs.make_estimator(model_fn, job, save_checkpoints_steps=1, keep_checkpoint_max=0)
    for _ in range(2):
        estimator.train(jobs.input_fn, steps=2, **{how: [make(str(emitted), keep_max=0)]})
    assert jobs.listed(emitted) == [f"model.ckpt-{step}" for step in range(5)]
    assert _inodes(job) == _inodes(emitted)


def test_a_moved_directory_still_works(dirs):
    job, emitted = dirs
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(emitted))
    jobs.make_estimator(wrapped, job).train(jobs.input_fn, steps=1)
    moved = emitted.rename(emitted.parent / "moved")
    assert tf.train.latest_checkpoint(str(moved)) == str(moved / "model.ckpt-1")
    assert jobs.values(tf.train.latest_checkpoint(str(moved)))["global_step"] == 1


def test_a_saver_that_only_the_scaffold_has_can_be_given(dirs):
    job, emitted = dirs

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        saver = tf1.train.Saver(sharded=True)
        hook = Tf1CheckpointSaverHook(str(emitted), saver=saver)
        return spec._replace(scaffold=tf1.train.Scaffold(saver=saver), training_chief_hooks=[hook])

    jobs.make_estimator(model_fn, job).train(jobs.input_fn, steps=2)
    assert _assert_equal_at_every_step(job, emitted) == jobs.listed(job)
    assert _inodes(job) == _inodes(emitted)


def _scaffold_of(kind):
    """What the Scaffold of a job brings, each kind with names or variables of its own."""
    variables = {each.op.name: each for each in tf1.global_variables()}
    if kind == "default":
        return None
    if kind == "names":
        step = {"global_step": variables.pop("global_step")}
        renamed = {f"old/{name}": each for name, each in variables.items()}
        saver = tf1.train.Saver({**renamed, **step})
    elif kind == "subset":
        wanted = [each for name, each in variables.items() if "Adam" not in name]
        saver = tf1.train.Saver(wanted, sharded=True)
    elif kind == "deferred":
        saver = tf1.train.Saver(defer_build=True, max_to_keep=2)
    elif kind == "keeps all":
        saver = tf1.train.Saver(max_to_keep=0, sharded=True)
    elif kind == "collected":
        saver = tf1.train.Saver()
        tf1.add_to_collection(
            tf1.GraphKeys.SAVERS, tf1.train.Saver({"other": variables["layer/w"]})
        )
    else:
        held = {name: each for name, each in variables.items() if name != "global_step"}
        saver = tf.train.Checkpoint(var_list=held, step=variables["global_step"])
    return tf1.train.Scaffold(saver=saver)


KINDS = ("default", "names", "subset", "deferred", "keeps all", "collected", "object-based")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["hook", "listener", "hook of the spec", "hook, save_steps"])
def test_the_saver_of_an_unwrapped_job_s_scaffold_is_found(dirs, caplog, kind, how):
    job, emitted = dirs
    settings = {"save_steps": 2} if how == "hook, save_steps" else {}
    make = Tf1CheckpointListener if how == "listener" else Tf1CheckpointSaverHook
    emits = make(str(emitted), **settings)

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        hooks = [emits] if how == "hook of the spec" else []
        return spec._replace(scaffold=_scaffold_of(kind), training_hooks=hooks)

    where = {"listener": "saving_listeners", "hook of the spec": None}.get(how, "hooks")
    estimator = jobs.make_estimator(model_fn, job, save_checkpoints_steps=2)
    estimator.train(jobs.input_fn, steps=5, **({where: [emits]} if where else {}))
    # It keeps as many as the job does, and what the job has: its names, its subset.
    names = [f"model.ckpt-{step}" for step in (0, 2, 4, 5)]
    if kind == "deferred":
        names = names[-2:]
    if kind == "keeps all" and how in ("hook", "hook of the spec"):
        # It had saved before there was a Scaffold to find it in, and lists nothing.
        assert "the first checkpoint of this run is missing" in caplog.text
        names = names[1:]
    assert jobs.listed(emitted) == names
    assert sorted(path.stem for path in emitted.glob("*.index")) == names
    for name in names:
        jobs.assert_equal_values(jobs.values(emitted / name), jobs.values(job / name))
    found = set(jobs.values(emitted / names[-1]))
    assert ("old/layer/w" in found) == (kind == "names")
    assert ("layer/w" in found) == (kind != "names")
    assert ("layer/w/Adam" in found) == (kind not in ("names", "subset"))
    assert "other" not in found
    if kind != "keeps all":
        # A data file that has just the object graph is of no use there.
        assert _inodes(emitted) == _inodes(job) or kind == "object-based"
        assert _inodes(emitted) <= _inodes(job)


def test_a_saver_that_can_t_be_found_is_said(tmp_path):
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        step = tf1.train.get_or_create_global_step()
        hook = Tf1CheckpointSaverHook(str(tmp_path / "tf1"))
        hook.begin()
        graph.finalize()  # without a Scaffold
        with pytest.raises(CheckpointArgumentError, match=r"can't be found, .*; give .* saver="):
            hook.after_create_session(session, None)
        del step


@pytest.mark.parametrize("own", [None, 2])
def test_a_wrapped_job_s_directory_keeps_as_many_as_its_saver(dirs, own):
    job, emitted = dirs

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        if own is None:
            return spec
        return spec._replace(scaffold=tf1.train.Scaffold(saver=tf1.train.Saver(max_to_keep=own)))

    wrapped = wrap_model_fn(model_fn, tf1_dir=str(emitted))
    estimator = jobs.make_estimator(wrapped, job, save_checkpoints_steps=1, keep_checkpoint_max=3)
    estimator.train(jobs.input_fn, steps=5)
    assert jobs.listed(emitted) == jobs.listed(job)
    assert len(list(emitted.glob("*.index"))) == (own or 3)


def test_what_is_meant_by_keep_max_has_to_be_clear():
    with pytest.raises(CheckpointArgumentError, match="keep_max='all' must be a number"):
        Tf1CheckpointSaverHook("tf1", keep_max="all")


@pytest.mark.parametrize("wraps", [True, False])
def test_what_the_job_s_own_hook_saves_elsewhere_is_not_emitted(dirs, wraps):
    job, emitted = dirs
    best = str(job.parent / "best" / "m")
    os.makedirs(os.path.dirname(best))

    class SavesElsewhere(tf1.train.SessionRunHook):
        def after_run(self, run_context, run_values):
            saver.save(run_context.session, best, global_step=77)

    def model_fn(features, labels, mode):
        nonlocal saver
        spec = jobs.adam_model_fn(features, labels, mode)
        saver = tf1.train.Saver(sharded=True)
        hook = Tf1CheckpointSaverHook(str(emitted))
        scaffold = tf1.train.Scaffold(saver=saver)
        return spec._replace(scaffold=scaffold, training_hooks=[SavesElsewhere(), hook])

    saver = None
    made = wrap_model_fn(model_fn) if wraps else model_fn
    jobs.make_estimator(made, job, save_checkpoints_steps=2).train(jobs.input_fn, steps=4)
    assert jobs.listed(emitted) == [f"model.ckpt-{step}" for step in (0, 2, 4)]
    assert _inodes(emitted) == _inodes(job)


def test_the_jobs_own_directory_is_refused(dirs):
    job, _ = dirs
    wrapped = wrap_model_fn(jobs.adam_model_fn, tf1_dir=str(job))
    with pytest.raises(CheckpointArgumentError, match="a directory of their own"):
        jobs.make_estimator(wrapped, job).train(jobs.input_fn, steps=1)


def test_two_paces_are_refused():
    with pytest.raises(CheckpointArgumentError, match="give one of them"):
        Tf1CheckpointSaverHook("tf1", save_steps=1, save_secs=1)


@pytest.mark.parametrize("checkpoint_format", ["dual", "tf2", None])
@pytest.mark.parametrize("async_save", [False, True])
@pytest.mark.parametrize("graph", [True, False])
def test_the_graph_lies_beside_and_a_tf1_pipeline_restores_by_it(
    dirs, checkpoint_format, async_save, graph
):
    job, emitted = dirs
    if checkpoint_format is None:
        if async_save:
            pytest.skip("a job that is not wrapped has no async_save")
        hooks, model_fn = [Tf1CheckpointSaverHook(str(emitted))], jobs.adam_model_fn
    else:
        hooks = []
        model_fn = wrap_model_fn(
            jobs.adam_model_fn,
            checkpoint_format=checkpoint_format,
            tf1_dir=str(emitted),
            async_save=async_save,
        )
    config = {"save_checkpoints_steps": 1, "keep_checkpoint_max": 2}
    config["checkpoint_save_graph_def"] = graph
    jobs.make_estimator(model_fn, job, **config).train(jobs.input_fn, steps=4, hooks=hooks)
    found = sorted(path.name for path in emitted.glob("*.meta"))
    if not graph:
        assert not found
        return
    assert found == ["model.ckpt-3.meta", "model.ckpt-4.meta"]  # the older ones went
    assert os.path.samefile(job / found[1], emitted / found[1])
    with tf.Graph().as_default(), tf1.Session() as session:
        saver = tf1.train.import_meta_graph(str(emitted / found[1]))
        saver.restore(session, str(emitted / "model.ckpt-4"))
        restored = {each.op.name: session.run(each) for each in tf1.global_variables()}
    reader = tf.train.load_checkpoint(str(emitted / "model.ckpt-4"))
    assert restored.keys() == reader.get_variable_to_shape_map().keys()
    for name, value in restored.items():
        np.testing.assert_array_equal(value, reader.get_tensor(name))
