"""A job that saves every step and keeps one checkpoint, and those who read beside it.

    python saving_race.py train FOLDER HOW STEPS TASK NUMBER    # makes FOLDER/done at its end
    python saving_race.py restart FOLDER HOW TIMES TASK NUMBER  # saves again what it begins with
    python saving_race.py poll FOLDER SUBFOLDER              # tf.train.latest_checkpoint
    python saving_race.py iterate FOLDER SUBFOLDER           # tf.train.checkpoints_iterator
    python saving_race.py evaluate FOLDER HOW
    python saving_race.py watch FOLDER SUBFOLDER             # has every index its shards?

HOW is "raw", "wrapped", or "linked", which is wrapped and links what is unchanged. The job's
variables tell the step that they are of, two of them the step itself, the third each third step;
one is another in each run. The job goes on until NUMBER readers of the kind TASK have had enough.
Each prints JSON: how many reads, and those that failed: the kind of error, and whether the
checkpoint was still there.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import sys
import time

EVERY = {"a": 1, "b": 1, "c": 3}
"""After how many steps each variable changes."""
NAMES = tuple(EVERY)


READS, SEEN = 1_000, 50
"""How much is enough: so many reads, or checkpoints that are watched."""
MOST = 20
"""How many times what it was told a job goes on at most, for readers that have not had enough."""


def value_at(name, step):
    """What a variable is at a step; the global step, too."""
    return step - step % EVERY.get(name, 1)


def model_fn(features, labels, mode):
    import tensorflow as tf

    tf1 = tf.compat.v1
    step = tf1.train.get_global_step()
    variables = [
        tf1.get_variable(name, [200], initializer=tf1.zeros_initializer(), use_resource=True)
        for name in NAMES
    ]
    loss = tf.reduce_mean(features) + 0.0 * variables[0][0]
    with tf.control_dependencies([tf1.assign_add(step, 1)]):
        now = step.read_value()
        values = [tf.cast(value_at(name, now), tf.float32) for name in NAMES]
        filled = [tf.fill([200], value) for value in values]
        train_op = tf.group(*[each.assign(value) for each, value in zip(variables, filled)])
    runs = tf1.get_variable("runs", [], initializer=tf1.zeros_initializer(), use_resource=True)
    spread = tf1.metrics.mean(
        tf.reduce_max(
            [
                tf.reduce_max(tf.abs(variable - tf.cast(value_at(name, step), tf.float32)))
                for name, variable in zip(NAMES, variables)
            ]
        )
    )
    local_init_op = tf.group(tf1.train.Scaffold.default_local_init_op(), runs.assign_add(1.0))
    return tf.estimator.EstimatorSpec(
        mode,
        loss=loss,
        train_op=train_op,
        eval_metric_ops={"spread": spread},
        scaffold=tf1.train.Scaffold(local_init_op=local_init_op),
    )


def estimator(folder, how, keep=1, **settings):
    import tensorflow as tf

    from estimator_ckpt import wrap_model_fn

    config = tf.estimator.RunConfig(
        save_checkpoints_steps=1,
        keep_checkpoint_max=keep,
        save_summary_steps=None,
        log_step_count_steps=None,
    )
    made = model_fn
    if how != "raw":
        settings = {"tf1_dir": os.path.join(folder, "tf1"), **settings}
        if how == "linked":
            settings["unchanged"] = "link"
        made = wrap_model_fn(model_fn, **settings)
    return tf.estimator.Estimator(made, os.path.join(folder, "job"), config)


def input_fn():
    import tensorflow as tf

    return tf.data.Dataset.from_tensors(([1.0], [1.0])).repeat()


def train(folder, how, steps, task, readers):
    """Trains so many steps, and on until so many readers of a kind have had enough of them."""
    import tensorflow as tf

    class StopsWhenAllHaveEnough(tf.compat.v1.train.SessionRunHook):
        def after_run(self, run_context, run_values):
            step = run_context.session.run(tf.compat.v1.train.get_global_step())
            if step >= int(steps) and have_enough(folder, task, readers):
                run_context.request_stop()

    try:
        most = MOST * int(steps)
        estimator(folder, how).train(input_fn, [StopsWhenAllHaveEnough()], max_steps=most)
    finally:
        (pathlib.Path(folder) / "done").write_bytes(b"")
    return {}


def restart(folder, how, times, task, readers):
    """Begins again and again, for one step; what it begins with is saved again, and differs."""
    try:
        for step in range(1, MOST * int(times)):
            estimator(folder, how, keep=1000).train(input_fn, max_steps=step)
            if step >= int(times) and have_enough(folder, task, readers):
                break
    finally:
        (pathlib.Path(folder) / "done").write_bytes(b"")
    return {}


def have_enough(folder, task, readers):
    return len(list(pathlib.Path(folder).glob(f"enough-{task}-*"))) >= int(readers)


def tell_enough(folder, task, below):
    (pathlib.Path(folder) / f"enough-{task}-{below}").touch()


def identity(path):
    from estimator_ckpt.storage import files

    try:
        return files.identity(path)
    except FileNotFoundError:
        return None


def read(prefix):
    """Reads each tensor; all have to be of its step."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(prefix)
    step = int(prefix.rpartition("-")[2])
    for name in NAMES:
        found = set(reader.get_tensor(name).tolist())
        assert found == {float(value_at(name, step))}, f"{prefix} holds {found} in {name}"


def counted(folder, below, prefixes, call=read, task="poll"):
    """Reads until the job is done; counts what fails, and why.

    What was replaced meanwhile keeps its data until the next save.
    """
    import tensorflow as tf

    reads, failed = 0, collections.Counter()
    for prefix in prefixes:
        if prefix is None:
            time.sleep(0.01)
        else:
            before = identity(prefix + ".index")
            try:
                call(prefix)
            except Exception as error:
                now = identity(prefix + ".index")
                latest = tf.train.latest_checkpoint(os.path.dirname(prefix))
                what = f"still there: {error}"
                if now is None:
                    what = "removed"
                elif now != before and latest != prefix:
                    what = "replaced, and another saved since"
                failed[f"{type(error).__name__}, {what}"] += 1
            reads += 1
            if reads == READS:
                tell_enough(folder, task, below)
        if (pathlib.Path(folder) / "done").exists():
            break
    return {"reads": reads, "failed": failed}


def poll(folder, below):
    import tensorflow as tf

    def latest():
        while True:
            yield tf.train.latest_checkpoint(os.path.join(folder, below))

    return counted(folder, below, latest())


def iterate(folder, below):
    import tensorflow as tf

    os.makedirs(os.path.join(folder, below), exist_ok=True)
    return counted(
        folder,
        below,
        tf.train.checkpoints_iterator(
            os.path.join(folder, below),
            timeout=1,
            timeout_fn=(pathlib.Path(folder) / "done").exists,
        ),
        task="iterate",
    )


def evaluate(folder, how):
    import tensorflow as tf

    made = estimator(folder, how)

    def call(prefix):
        metrics = made.evaluate(input_fn, steps=1, checkpoint_path=prefix)
        assert metrics["spread"] == 0, metrics
        assert metrics["global_step"] == int(prefix.rpartition("-")[2]), metrics

    def latest():
        while True:
            yield tf.train.latest_checkpoint(os.path.join(folder, "job"))

    return counted(folder, "job", latest(), call, task="evaluate")


def watch(folder, below):
    """Looks at each index that is there; its shards are, too, as long as it is."""
    from estimator_ckpt.bundle.index import decode_index
    from estimator_ckpt.errors import DamagedCheckpointError

    inside = pathlib.Path(folder) / below
    looks, seen, half = 0, set(), []
    while not (pathlib.Path(folder) / "done").exists():
        for path in inside.glob("*.index"):
            try:
                before = os.stat(path)
                index = decode_index(path.read_bytes())
            except FileNotFoundError:
                continue
            except DamagedCheckpointError as error:
                half.append([str(path), str(error)])
                continue
            prefix = str(path)[: -len(".index")]
            missing = [
                (number, end)
                for number, end in ends(index).items()
                if size(f"{prefix}.data-{number:05d}-of-{index.num_shards:05d}") < end
            ]
            looks += 1
            seen.add(prefix)
            if len(seen) > SEEN:
                tell_enough(folder, "watch", below)
            try:
                unchanged = os.stat(path).st_ino == before.st_ino
            except FileNotFoundError:
                continue  # removed meanwhile, and its shards after it
            if missing and unchanged:
                half.append([str(path), missing])
    return {"looks": looks, "checkpoints": len(seen), "half": half}


def ends(index):
    found = {}
    for entry in index.entries.values():
        for stored in entry.stored:
            end = stored.offset + stored.size
            found[stored.shard_id] = max(found.get(stored.shard_id, 0), end)
    return found


def size(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return -1


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from estimator_ckpt import compat

    compat.install()
    task, *rest = sys.argv[1:]
    print("\n" + json.dumps(globals()[task](*rest)))
