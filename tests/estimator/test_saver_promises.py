"""What the documentation of `tf1.train.Saver` promises, raw beside ours.

Each promise is a function of a `Kit`, which makes Savers of one kind, and returns what can be
observed; a raw Saver's observation is the measure. References: the docstrings of the constructor
and of each method of `tf.compat.v1.train.Saver`.
"""

import os

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt import CheckpointSaver

tf1 = tf.compat.v1
PROMISES = []


def promise(function):
    PROMISES.append(function)
    return function


class Kit:
    """A graph with a session, a folder, and a way to make Savers."""

    def __init__(self, how, folder):
        self.how = how
        self.folder = folder
        self.session = tf1.get_default_session()

    def path(self, name="model"):
        return str(self.folder / name)

    def variables(self, **values):
        made = [tf1.get_variable(name, initializer=value) for name, value in values.items()]
        self.session.run(tf1.global_variables_initializer())
        return made

    def saver(self, var_list=None, **options):
        defer = options.pop("defer_build", False)
        if self.how == "raw":
            return tf1.train.Saver(var_list, defer_build=defer, **options)
        checkpoint_format = "dual" if self.how == "async" else self.how
        saver = CheckpointSaver(checkpoint_format, var_list=var_list, **options)
        saver.async_save = saver.saves_in_background = self.how == "async"
        if not defer:
            saver.build()
        return saver

    def save(self, saver, *args, **kwargs):
        """Saves, and waits until it is done; the path is told below the folder."""
        path = saver.save(self.session, *args, **kwargs)
        if self.how != "raw":
            saver.wait()
        return self.below(path)

    def below(self, path):
        return path.replace(str(self.folder), "FOLDER") if isinstance(path, str) else path

    def files(self):
        """The names of the files; those of data without how many there are of them."""
        names = [os.path.relpath(path, self.folder) for path in self.folder.rglob("*")]
        return sorted({name.partition(".data-")[0] for name in names})

    def listed(self, name="checkpoint", folder=None):
        with open(os.path.join(folder or self.folder, name), encoding="utf-8") as file:
            lines = [
                line for line in file if not line.startswith(("all_model_checkpoint_t", "last"))
            ]
        return [self.below(line) for line in lines]

    def told(self, call):
        """The class and the words of the error that a call ends with."""
        with pytest.raises(Exception) as raised:
            call()
        return type(raised.value).__name__, self.below(str(raised.value))

    def reset(self, *variables):
        self.session.run([variable.assign(variable * 0) for variable in variables])


@promise
def var_list_none_is_all(kit):
    a, b = kit.variables(a=1.0, b=[2, 3])
    saver = kit.saver()
    kit.save(saver, kit.path())
    kit.reset(a, b)
    saver.restore(kit.session, kit.path())
    return kit.session.run([a, b])


@promise
def var_list_is_a_list(kit):
    a, b = kit.variables(a=1.0, b=2.0)
    saver = kit.saver([a])
    kit.save(saver, kit.path())
    kit.reset(a, b)
    saver.restore(kit.session, kit.path())
    return kit.session.run([a, b]), sorted(jobs.values(kit.path()))


@promise
def var_list_is_a_map_of_names(kit):
    a, b = kit.variables(a=1.0, b=2.0)
    saver = kit.saver({"x/y": a, "b": b})
    kit.save(saver, kit.path())
    kit.reset(a, b)
    saver.restore(kit.session, kit.path())
    return kit.session.run([a, b]), sorted(jobs.values(kit.path()))


@promise
def reshape_allows_other_shapes(kit):
    a, b = kit.variables(a=[[1.0, 2.0]], b=[[0.0], [0.0]])
    kit.save(kit.saver({"v": a}), kit.path())
    kit.saver({"v": b}, reshape=True).restore(kit.session, kit.path())
    return kit.session.run(b)


@promise
def sharded_restores(kit):
    a, b = kit.variables(a=1.0, b=2.0)
    saver = kit.saver(sharded=True, restore_sequentially=True)
    told = kit.save(saver, kit.path(), 1)
    kit.reset(a, b)
    saver.restore(kit.session, kit.path("model-1"))
    return told, kit.session.run([a, b]), saver.saver_def.sharded


@promise
def max_to_keep(kit):
    kit.variables(a=1.0)
    found = []
    for number in (2, 0, None):
        saver = kit.saver(max_to_keep=number)
        for step in range(4):
            kit.save(saver, kit.path(f"keep{number}"), step)
        found += [[kit.below(path) for path in saver.last_checkpoints], kit.listed()]
    return found, kit.files()


@promise
def keep_checkpoint_every_n_hours(kit):
    kit.variables(a=1.0)
    saver = kit.saver(max_to_keep=1, keep_checkpoint_every_n_hours=1e-9)
    for step in range(3):
        kit.save(saver, kit.path(), step)
    return kit.files(), len(saver.last_checkpoints)


@promise
def name_is_that_of_the_ops(kit):
    kit.variables(a=1.0)
    names = kit.saver(name="mine").saver_def
    return [
        name.partition("/")[0]
        for name in (names.filename_tensor_name, names.save_tensor_name, names.restore_op_name)
    ]


@promise
def saver_def_recreates_a_saver(kit):
    a, b = kit.variables(a=1.0, b=[2.0, 3.0])
    first = kit.saver([a, b], max_to_keep=1)
    saver = kit.saver(saver_def=first.as_saver_def())
    for step in (1, 2):
        kit.save(saver, kit.path(), step)
    kit.reset(a, b)
    saver.restore(kit.session, kit.path("model-2"))
    return kit.session.run([a, b]), kit.files(), sorted(jobs.values(kit.path("model-2")))


@promise
def saver_def_of_an_imported_graph(kit):
    a, _ = kit.variables(a=1.0, b=2.0)
    kit.save(kit.saver([a]), kit.path())
    with tf.Graph().as_default(), tf1.Session() as session:
        saver_def = tf1.train.import_meta_graph(kit.path() + ".meta").saver_def
        session.run(tf1.global_variables_initializer())
        saver = kit.saver(saver_def=saver_def)
        saver.restore(session, kit.path())
        saver.save(session, kit.path("again"))
        if kit.how != "raw":
            saver.wait()
    return jobs.values(kit.path("again"))


@promise
def deferred_is_built_later(kit):
    kit.variables(a=1.0)
    saver = kit.saver(defer_build=True)
    found = [saver.saver_def, kit.told(lambda: saver.save(kit.session, kit.path()))]
    tf1.get_variable("late", initializer=1.0)
    kit.session.run(tf1.global_variables_initializer())
    saver.build()
    saver.build()
    kit.save(saver, kit.path())
    return found, sorted(jobs.values(kit.path()))


@promise
def nothing_to_save_is_an_error_unless_allowed(kit):
    told = kit.told(kit.saver)
    saver = kit.saver(allow_empty=True)
    found = [kit.save(saver, kit.path(), 3), saver.last_checkpoints, saver.as_saver_def()]
    saver.restore(kit.session, "nowhere")
    return told, found, kit.files()


@promise
def pad_step_number(kit):
    kit.variables(a=1.0)
    saver = kit.saver(pad_step_number=True)
    return kit.save(saver, kit.path(), 12), kit.save(saver, kit.path()), kit.files()


@promise
def save_relative_paths(kit):
    kit.variables(a=1.0)
    found = []
    for relative in (True, False):
        kit.save(kit.saver(save_relative_paths=relative), kit.path(), 1)
        found.append(kit.listed())
    return found


@promise
def filename_is_known_when_the_graph_is_made(kit):
    kit.variables(a=1.0)
    saver = kit.saver(filename="known/file")
    return kit.session.run(saver.saver_def.filename_tensor_name)


@promise
def global_step_is_a_number_a_tensor_or_a_name(kit):
    kit.variables(a=1.0, step=7)
    saver = kit.saver()
    steps = (3, np.int64(4), tf1.global_variables()[1], None)
    return [kit.save(saver, kit.path(), step) for step in steps], kit.files()


@promise
def each_argument_of_save(kit):
    kit.variables(a=1.0)
    found = []
    saver = kit.saver()
    kit.save(saver, kit.path("state"), latest_filename="other_state")
    found.append([kit.files(), kit.listed("other_state")])
    kit.save(saver, kit.path("suffix"), meta_graph_suffix="graph")
    kit.save(saver, kit.path("no_meta"), write_meta_graph=False)
    kit.save(saver, kit.path("no_state"), write_state=False)
    kit.save(saver, kit.path("stripped"), strip_default_attrs=True)
    kit.save(saver, kit.path("debug"), save_debug_info=True)
    found.append([kit.files(), kit.listed(), [kit.below(each) for each in saver.last_checkpoints]])
    return found


@promise
def the_arguments_of_save_by_position(kit):
    kit.variables(a=1.0)
    saver = kit.saver()
    kit.save(saver, kit.path("first"), 1, "other_state", "graph", True, True, True)
    kit.save(saver, kit.path("second"), 2, None, "meta", False, False)
    return kit.files(), kit.listed("other_state"), list(map(kit.below, saver.last_checkpoints))


@promise
def wrong_arguments_of_save_are_told_at_once(kit):
    kit.variables(a=1.0)
    saver, sharded = kit.saver(), kit.saver(sharded=True)
    found = [
        kit.told(lambda: saver.save(kit.session, kit.path(), latest_filename="a/b")),
        kit.told(lambda: saver.save(kit.session, kit.path("checkpoint"))),
        kit.told(lambda: saver.save(kit.session, kit.path("x"), latest_filename="x")),
        kit.told(lambda: saver.save(None, kit.path())),
        kit.told(lambda: saver.save(kit.session, kit.path("no/such/place"))),
        kit.told(lambda: sharded.save(kit.session, kit.path("no/place"))),
        kit.told(lambda: saver.save(kit.session, kit.path(), 3.5)),
        kit.told(lambda: saver.save(kit.session, 3))[0],
        kit.told(lambda: saver.save(kit.session, kit.path(), nonsense=1))[0],
        kit.told(lambda: saver.save(kit.session))[0],
    ]
    return found, kit.files()


@promise
def a_missing_directory_is_made(kit):
    kit.variables(a=1.0)
    return kit.save(kit.saver(), kit.path("new/model"), 1), kit.files()


@promise
def paths_without_a_directory_or_a_name(kit):
    kit.variables(a=1.0)
    saver = kit.saver()
    before = os.getcwd()
    os.chdir(kit.folder)
    try:
        found = [kit.save(saver, "here", 1), kit.save(saver, "./there", 2)]
        saver.restore(kit.session, "here-1")
    finally:
        os.chdir(before)
    return found, kit.save(saver, kit.path() + os.sep), kit.files()


@promise
def bytes_are_a_path(kit):
    (a,) = kit.variables(a=1.0)
    saver = kit.saver()
    found = kit.save(saver, kit.path().encode(), 2)
    kit.reset(a)
    saver.restore(kit.session, kit.path("model-2").encode())
    return found, kit.session.run(a), kit.files()


@promise
def restore_initializes(kit):
    (a,) = kit.variables(a=4.0)
    saver = kit.saver()
    kit.save(saver, kit.path())
    with tf1.Session(graph=kit.session.graph) as fresh:
        saver.restore(fresh, kit.path())
        return fresh.run(a)


@promise
def what_can_not_be_restored_is_refused(kit):
    kit.variables(a=1.0)
    saver = kit.saver()
    return (
        kit.told(lambda: saver.restore(kit.session, None)),
        kit.told(lambda: saver.restore(kit.session, kit.path("nothing"))),
        kit.told(lambda: saver.restore(kit.session, 3))[0],
    )


@promise
def last_checkpoints_can_be_set_and_recovered(kit):
    kit.variables(a=1.0)
    first = kit.saver()
    for step in (1, 2, 3):
        kit.save(first, kit.path(), step)
    saver = kit.saver(max_to_keep=3)
    found = [saver.last_checkpoints]
    saver.set_last_checkpoints([kit.path("model-1")])
    found.append([kit.below(each) for each in saver.last_checkpoints])
    saver.set_last_checkpoints_with_time([(kit.path("model-2"), 1.0)])
    found.append([kit.below(each) for each in saver.last_checkpoints])
    saver.recover_last_checkpoints([kit.path(f"model-{step}") for step in (0, 1, 2, 3)])
    found.append([kit.below(each) for each in saver.last_checkpoints])
    kit.save(saver, kit.path(), 4)
    return found, kit.listed(), kit.files()


@promise
def what_was_recovered_is_deleted_also_if_the_next_save_goes_elsewhere(kit):
    kit.variables(a=1.0)
    first = kit.saver()
    for step in (1, 2):
        kit.save(first, kit.path(), step)
    (kit.folder / "best").mkdir()
    saver = kit.saver(max_to_keep=2)
    if kit.how != "raw":
        saver.model_dir = str(kit.folder)  # as a job's has
    saver.recover_last_checkpoints(first.last_checkpoints)
    kit.save(saver, kit.path("best/model"), 2)
    return kit.files(), list(map(kit.below, saver.last_checkpoints))


@promise
def a_step_that_is_saved_again_is_the_latest(kit):
    kit.variables(a=1.0)
    saver = kit.saver()
    for step in (1, 2, 1):
        kit.save(saver, kit.path(), step)
    return [kit.below(each) for each in saver.last_checkpoints], kit.listed()


@promise
def protocol_buffers(kit):
    kit.variables(a=1.0)
    saver = kit.saver(name="scope/save", max_to_keep=3, keep_checkpoint_every_n_hours=2.0)
    protos = [saver.as_saver_def(), saver.to_proto(), saver.to_proto("scope")]
    return (
        [(each.max_to_keep, each.keep_checkpoint_every_n_hours, each.version) for each in protos],
        [each.filename_tensor_name for each in protos],
        saver.to_proto("elsewhere"),
        saver.from_proto(saver.to_proto()).saver_def == saver.saver_def,
    )


@promise
def export_meta_graph(kit):
    kit.variables(a=3.0)
    saver = kit.saver()
    kit.save(saver, kit.path(), write_meta_graph=False)
    exported = saver.export_meta_graph(kit.path("graph"), ["variables"], True)
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.train.import_meta_graph(kit.path("graph")).restore(session, kit.path())
        return (
            session.run("a/Read/ReadVariableOp:0"),
            exported.saver_def == saver.saver_def,
            list(exported.collection_def),
        )


@promise
def import_meta_graph_of_a_save(kit):
    kit.variables(a=3.0)
    kit.save(kit.saver(), kit.path())
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.train.import_meta_graph(kit.path() + ".meta").restore(session, kit.path())
        return session.run("a/Read/ReadVariableOp:0")


@promise
def a_session_of_another_graph_with_the_same_ops(kit):
    kit.variables(a=1.0)
    saver = kit.saver()
    saved = kit.session.graph.as_graph_def()
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        tf.import_graph_def(saved, name="")
        session.run("a/Assign")
        add = tf.raw_ops.AssignAddVariableOp(
            resource=graph.get_tensor_by_name("a:0"), value=tf.constant(1.0)
        )
        session.run(add)
        path = saver.save(session, kit.path(), 5)
        if kit.how != "raw":
            saver.wait()
        session.run(add)
        saver.restore(session, path)
        return kit.below(path), session.run("a/Read/ReadVariableOp:0"), jobs.values(path)


_raw = {}


def _observe(run, how, folder):
    with tf.Graph().as_default(), tf1.Session():
        return run(Kit(how, folder))


@pytest.mark.parametrize("how", ["dual", "tf2", "async"])
@pytest.mark.parametrize("run", PROMISES, ids=lambda run: run.__name__)
def test_a_promise_of_the_documentation_is_kept(run, how, tmp_path_factory):
    if run not in _raw:
        _raw[run] = _observe(run, "raw", tmp_path_factory.mktemp("raw"))
    found = _observe(run, how, tmp_path_factory.mktemp(how))
    np.testing.assert_equal(found, _raw[run])
