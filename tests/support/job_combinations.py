"""Jobs put together from many factors, each run raw beside wrapped; what fails is shrunk.

    check(Configuration(strategy="mirrored", optimizer="adam", saver="map"), folder)
    for configuration in pairwise(seed=1): ...      # each two levels of two factors meet
    python tests/support/job_combinations.py 5 9    # more of them than the tests run
    print(script(shrink(configuration, fails)))

A configuration is what differs from the simplest job; `build` makes the job of it, and `check`
compares: raw beside wrapped, resumed across, converted, and read by both worlds.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import pathlib
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jobs
import numpy as np
import tensorflow as tf
from allpairspy import AllPairs
from scenarios import assert_equal

from estimator_ckpt import convert, diff, verify, wrap_model_fn
from estimator_ckpt.naming.paths import parse_key

tf1 = tf.compat.v1
MODES = tf.estimator.ModeKeys


def _levels(*levels: str) -> Any:
    """Makes a factor; its first level is that of the simplest job."""
    return dataclasses.field(default=levels[0], metadata={"levels": levels})


@dataclass(frozen=True)
class Configuration:
    """A job and how it is wrapped: one level of each factor."""

    strategy: str = _levels("none", "one", "mirrored")
    variables: str = _levels("resource", "reference")
    partitioner: str = _levels("none", "rows", "columns")
    optimizer: str = _levels("sgd", "momentum", "adam", "ftrl", "keras")
    trait: str = _levels("plain", "batch_norm", "averages", "dtypes", "table", "locals")
    saver: str = _levels("none", "scaffold", "collection", "map", "subset", "checkpoint")
    checkpoint_format: str = _levels("dual", "tf2")
    saves: str = _levels("sync", "async", "flushed")
    tf1_dir: str = _levels("no", "yes")
    checkpoint_fn: str = _levels("none", "all", "trainable")
    config: str = _levels("default", "keeps_one", "every_step", "no_graph")
    calls: str = _levels("train", "twice", "train_and_evaluate")
    reads: str = _levels("evaluate", "predict", "export")
    hook: str = _levels("none", "saves", "looks_up", "listens")


LEVELS = {field.name: field.metadata["levels"] for field in dataclasses.fields(Configuration)}


def is_possible(configuration: Configuration) -> bool:
    """Returns whether plain TensorFlow can run such a job."""
    c = configuration
    under_strategy = c.strategy != "none"
    return not (
        (under_strategy and (c.variables == "reference" or c.partitioner != "none"))
        or (under_strategy and c.trait in ("averages", "table"))
        or (under_strategy and (c.saver == "subset" or c.optimizer in ("keras", "ftrl")))
        or (c.trait == "averages" and c.variables == "reference")
        or (c.optimizer == "keras" and (c.partitioner != "none" or c.variables == "reference"))
        # A Saver can't be built on such variables in a replica.
        or (c.strategy == "mirrored" and c.trait == "batch_norm" and c.saver != "none")
        # Such a hook looks for a saver where a Scaffold with one does not put it.
        or (c.hook == "saves" and c.saver not in ("none", "collection"))
        or (c.checkpoint_fn != "none" and c.saver == "checkpoint")  # two layouts
    )


def few(configurations: list[Configuration]) -> list[Configuration]:
    """Returns some of them, in which each level is met that is met in all of them."""
    missing = {item for each in configurations for item in dataclasses.asdict(each).items()}
    chosen = []
    while missing:
        best = max(configurations, key=lambda each: len(missing & set(vars(each).items())))
        missing -= set(vars(best).items())
        chosen.append(best)
    return chosen


def pairwise(seed: int) -> list[Configuration]:
    """Returns configurations in which each two levels of two factors are met, if they can be."""
    order = random.Random(seed)
    found: list[Configuration] = []
    while unmet := _unmet(found):
        # One run of it ends where no row goes on to be possible; another order goes on from there.
        names = order.sample(list(LEVELS), len(LEVELS))
        rows = AllPairs(
            [order.sample(LEVELS[name], len(LEVELS[name])) for name in names],
            filter_func=lambda row: is_possible(Configuration(**dict(zip(names, row)))),  # noqa: B023
            previously_tested=[[getattr(each, name) for name in names] for each in found],
        )
        found += [Configuration(**dict(zip(names, row))) for row in rows] or [unmet]
    return found


def _unmet(configurations: list[Configuration]) -> Configuration | None:
    """Returns a simple configuration with two levels that can meet and never do, if there are."""
    for first, second in itertools.combinations(LEVELS, 2):
        met = {(getattr(each, first), getattr(each, second)) for each in configurations}
        for levels in itertools.product(LEVELS[first], LEVELS[second]):
            pair = Configuration(**dict(zip((first, second), levels)))
            if levels not in met and is_possible(pair):
                return pair
    return None


def shrink(configuration: Configuration, fails: Callable[[Configuration], bool]) -> Configuration:
    """Returns a simpler configuration that fails, too, and passes without any of its factors."""
    for field in dataclasses.fields(configuration):
        simpler = dataclasses.replace(configuration, **{field.name: field.default})
        if simpler != configuration and is_possible(simpler) and fails(simpler):
            return shrink(simpler, fails)
    return configuration


def differing(configuration: Configuration) -> dict[str, str]:
    """Returns {factor: level} where a configuration is not the simplest job."""
    return {
        field.name: getattr(configuration, field.name)
        for field in dataclasses.fields(configuration)
        if getattr(configuration, field.name) != field.default
    }


def script(configuration: Configuration) -> str:
    """Returns a program that runs one configuration."""
    given = ", ".join(f"{name}={level!r}" for name, level in differing(configuration).items())
    return (
        "# PYTHONPATH=.:tests/support python this_script.py\n"
        "import tempfile\n"
        "import job_combinations\n"
        f"configuration = job_combinations.Configuration({given})\n"
        "job_combinations.check(configuration, tempfile.mkdtemp())\n"
    )


def fails(configuration: Configuration) -> bool:
    """Returns whether a configuration does not pass."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(configuration, folder)
        except Exception:  # whatever it is, it is what is looked for
            return True
    return False


# --- one function builds the job


@dataclass
class Job:
    """A job in a folder of its own: raw, or wrapped as its configuration says."""

    configuration: Configuration
    how: str
    model_dir: str
    notes: list[Any] = dataclasses.field(default_factory=list)

    @property
    def tf1_dir(self) -> str:
        return self.model_dir + "-tf1"


def build(job: Job) -> Any:
    """Makes the Estimator of a job."""
    c = job.configuration
    model_fn = _model_fn(c)
    if job.how == "wrapped":
        model_fn = wrap_model_fn(
            model_fn,
            checkpoint_format=c.checkpoint_format,
            async_save=c.saves == "async",
            sync_data=c.saves == "flushed",
            tf1_dir=job.tf1_dir if c.tf1_dir == "yes" else None,
            checkpoint_fn=_CHECKPOINT_FNS[c.checkpoint_fn],
        )
    settings: dict[str, Any] = dict(_CONFIGS[c.config])
    if c.strategy != "none":
        strategy = _STRATEGIES[c.strategy]()
        settings.update(train_distribute=strategy, eval_distribute=strategy)
    return jobs.make_estimator(model_fn, job.model_dir, **settings)


_STRATEGIES = {
    "one": lambda: tf.distribute.OneDeviceStrategy("/cpu:0"),
    "mirrored": lambda: tf.distribute.MirroredStrategy(["/cpu:0"]),
}
_CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "keeps_one": {"keep_checkpoint_max": 1, "save_checkpoints_steps": 1},
    "every_step": {"save_checkpoints_steps": 1},
    "no_graph": {"checkpoint_save_graph_def": False},
}
_CHECKPOINT_FNS = {
    "none": None,
    "all": lambda variables, step: tf.train.Checkpoint(held=variables, steps=step),
    "trainable": lambda variables, step: tf.train.Checkpoint(
        net=[variable for name, variable in variables.items() if name.startswith("layer/")][:2],
        steps=step,
    ),
}
_PARTITIONERS = {
    "none": lambda: None,
    "rows": lambda: tf1.fixed_size_partitioner(2),
    "columns": lambda: tf1.fixed_size_partitioner(3, axis=1),
}
_OPTIMIZERS = {
    "sgd": lambda: tf1.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: tf1.train.MomentumOptimizer(0.1, 0.9),
    "adam": lambda: tf1.train.AdamOptimizer(0.1),
    "ftrl": lambda: tf1.train.FtrlOptimizer(0.1),
}


def _model_fn(c: Configuration) -> Any:
    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        step = tf1.train.get_or_create_global_step()
        with tf1.variable_scope(
            "layer",
            partitioner=_PARTITIONERS[c.partitioner](),
            use_resource=c.variables == "resource",
        ):
            w = tf1.get_variable("w", [4, 3], initializer=tf1.glorot_uniform_initializer(seed=1))
            with tf1.variable_scope("bias", partitioner=None) as scope:
                scope.set_partitioner(None)
                b = tf1.get_variable("b", [3], initializer=tf1.zeros_initializer())
        y = tf.matmul(features["x"], tf.convert_to_tensor(w)) + b
        y, updates = _with_trait(c, y, step, mode)
        predictions = {"y": y}
        if mode == MODES.PREDICT:
            outputs = {"serving_default": tf.estimator.export.PredictOutput(predictions)}
            return tf.estimator.EstimatorSpec(
                mode, predictions=predictions, export_outputs=outputs, scaffold=_scaffold(c, mode)
            )
        loss = tf.reduce_mean(tf.square(y - labels))
        train_op = None
        if mode == MODES.TRAIN:
            train_op = tf.group(_train_op(c, loss, step), *updates)
            if c.trait == "averages":
                with tf.control_dependencies([train_op]):
                    averages = tf1.train.ExponentialMovingAverage(0.9)
                    train_op = averages.apply(tf1.trainable_variables())
        return tf.estimator.EstimatorSpec(
            mode, predictions=predictions, loss=loss, train_op=train_op, scaffold=_scaffold(c, mode)
        )

    return model_fn


def _with_trait(c: Configuration, y: Any, step: Any, mode: str) -> tuple[Any, list[Any]]:
    """Adds what the trait is about; returns the output, and what else a step does."""
    if c.trait == "batch_norm":
        training = mode == MODES.TRAIN
        y = tf1.layers.batch_normalization(y, training=training, name="norm")
        return y, tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
    if c.trait == "dtypes":
        made = [
            tf1.get_variable(
                f"odd/{dtype.name}", shape, dtype, tf1.zeros_initializer(), trainable=False
            )
            for dtype, shape in (
                (tf.float64, [2]),
                (tf.int64, []),
                (tf.bool, [3]),
                (tf.float16, [0, 4]),
            )
        ]
        return y, [made[1].assign_add(2)]
    if c.trait == "table":
        table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, -1.0, name="seen")
        key = tf.cast(tf.reshape(step, [1]), tf.int64)
        return y + 0 * table.lookup(key), [table.insert(key, tf.cast(key, tf.float32))]
    if c.trait == "locals":
        count = tf1.get_local_variable("count", [], initializer=tf1.zeros_initializer())
        return y, [count.assign_add(1)]
    return y, []


def _train_op(c: Configuration, loss: Any, step: Any) -> Any:
    if c.optimizer != "keras":
        return _OPTIMIZERS[c.optimizer]().minimize(loss, global_step=step)
    optimizer = tf.keras.optimizers.legacy.Adam(0.1)
    optimizer.iterations = step
    return tf.group(optimizer.get_updates(loss, tf1.trainable_variables()))


def _scaffold(c: Configuration, mode: str) -> Any:
    """Makes the Scaffold with the job's own saver, if it has one."""
    variables = {v.op.name: v for v in tf1.global_variables()}
    if c.saver == "collection":
        if not tf1.get_collection(tf1.GraphKeys.SAVERS):  # each replica calls
            tf1.add_to_collection(tf1.GraphKeys.SAVERS, tf1.train.Saver(max_to_keep=2))
        return None
    if c.saver == "scaffold":
        return tf1.train.Scaffold(saver=tf1.train.Saver(max_to_keep=2, sharded=True))
    if c.saver == "checkpoint":
        return tf1.train.Scaffold(saver=tf.train.Checkpoint(mine=variables))
    if c.saver == "map":
        parts: dict[str, list[Any]] = {}
        for variable in variables.values():
            info = variable._save_slice_info if hasattr(variable, "_save_slice_info") else None
            parts.setdefault(info.full_name if info else variable.op.name, []).append(variable)
        named = {f"old/{name}": v if len(v) > 1 else v[0] for name, v in parts.items()}
        return tf1.train.Scaffold(saver=tf1.train.Saver(named))
    if c.saver == "subset":
        kept = [v for name, v in variables.items() if name.startswith(("layer/w", "global_step"))]
        kept = [v for v in kept if not v.op.name.endswith(("Adam", "Adam_1", "Momentum", "Ftrl"))]
        others = [v for v in variables.values() if all(v is not each for each in kept)]
        default = tf1.train.Scaffold.default_local_init_op()
        return tf1.train.Scaffold(
            saver=tf1.train.Saver(kept),
            local_init_op=tf.group(default, tf1.variables_initializer(others)),
            ready_for_local_init_op=tf.constant([], tf.string),
        )
    return None


# --- what can be observed


class _LooksUp(tf1.train.SessionRunHook):
    """Looks for the saver where TensorFlow puts it, and saves elsewhere."""

    def __init__(self, job: Job):
        self._job = job

    def end(self, session: Any) -> None:
        savers = tf1.get_collection(tf1.GraphKeys.SAVERS)
        self._job.notes.append(len(savers))
        for saver in savers:
            saver.save(session, self._job.model_dir + "-best", write_state=False)


class _Listens(tf1.train.CheckpointSaverListener):
    def __init__(self, job: Job):
        self._job = job

    def after_save(self, session: Any, global_step: Any) -> None:
        self._job.notes.append(int(global_step))


def train(job: Job, steps: int = 2) -> Any:
    """Trains a job, as its configuration calls for it; returns what evaluation gives."""
    c = job.configuration
    estimator = build(job)
    hooks: list[Any] = []
    if c.hook == "saves":
        hooks.append(tf1.train.CheckpointSaverHook(job.model_dir, save_steps=2))
    elif c.hook == "looks_up":
        hooks.append(_LooksUp(job))
    listeners = [_Listens(job)] if c.hook == "listens" else None
    if c.calls == "train_and_evaluate":
        done = estimator.get_variable_value(_step_key(job)) if _latest(job) else 0
        return tf.estimator.train_and_evaluate(
            estimator,
            tf.estimator.TrainSpec(
                jobs.same_batch_input_fn, int(done) + steps, hooks, saving_listeners=listeners
            ),
            tf.estimator.EvalSpec(jobs.same_batch_input_fn, steps=1),
        )[0]
    for _ in range(2 if c.calls == "twice" else 1):
        estimator.train(jobs.same_batch_input_fn, hooks, steps, saving_listeners=listeners)
    return None


def observe(job: Job) -> dict[str, Any]:
    """Returns what a user sees of what a job has saved."""
    c = job.configuration
    estimator = build(job)
    seen: dict[str, Any] = {}
    if c.reads == "evaluate":
        seen["metrics"] = estimator.evaluate(jobs.same_batch_input_fn, steps=1)
    elif c.reads == "predict":
        few = estimator.predict(lambda: jobs.same_batch_input_fn().take(1))
        seen["predictions"] = np.stack([each["y"] for each in few])
    else:
        exported = estimator.export_saved_model(job.model_dir + "-export", jobs.serving_input_fn)
        with tf.Graph().as_default(), tf1.Session() as session:
            graph = tf1.saved_model.load(session, ["serve"], exported.decode())
            signature = graph.signature_def["serving_default"]
            feed = {signature.inputs["x"].name: jobs.FEATURES[:2]}
            seen["served"] = session.run(signature.outputs["y"].name, feed)
    if c.saver != "checkpoint":  # raw, that one heeds no RunConfig
        seen["checkpoints"] = jobs.listed(job.model_dir)
    events = (
        event.WhichOneof("what")
        for path in sorted(pathlib.Path(job.model_dir).glob("events.*"))
        for event in tf1.train.summary_iterator(str(path))
    )
    return {**seen, "events": collections.Counter(events), "notes": list(job.notes)}


def _latest(job: Job) -> str:
    return str(tf.train.latest_checkpoint(job.model_dir) or "")


def _read(prefix: str) -> dict[str, Any]:
    """{key: value}, as plain TensorFlow reads them."""
    reader = tf.train.load_checkpoint(prefix)
    keys = reader.get_variable_to_shape_map()
    return {key: reader.get_tensor(key) for key in keys if key != "_CHECKPOINTABLE_OBJECT_GRAPH"}


def _step_key(job: Job) -> str:
    return next(key for key in _read(_latest(job)) if _is_step(key))


def _is_step(key: str) -> bool:
    names = ("global_step", "old/global_step", "step", "steps")
    return key in names or (key.endswith(jobs.VALUE) and parse_key(key).path[-1] in names)


# --- one function compares


def check(configuration: Configuration, folder: Any) -> None:
    """Runs a configuration, and compares all that can be observed.

    Args:
      configuration: one that is possible.
      folder: an empty one.

    Raises:
      AssertionError: something differs.
    """
    folder = pathlib.Path(folder)
    raw, wrapped = (Job(configuration, how, str(folder / how)) for how in ("raw", "wrapped"))
    evaluated = [train(job) for job in (raw, wrapped)]
    assert_equal(evaluated[1], evaluated[0], "train_and_evaluate")
    assert_equal(observe(wrapped), observe(raw), "observed")
    _compare_checkpoints(raw, wrapped, folder)
    _resume_across(raw, wrapped, folder)


def _compare_checkpoints(raw: Job, wrapped: Job, folder: pathlib.Path) -> None:
    c = raw.configuration
    expected, prefix = _read(_latest(raw)), _latest(wrapped)
    found = _read(prefix)
    _require_sound(prefix)
    _read_by_objects(prefix)
    if c.checkpoint_format == "dual" or c.saver == "checkpoint":
        assert_equal({key: found.get(key) for key in expected}, expected, "raw's keys")
    if c.saver == "checkpoint":
        return
    named = {key for key in found if "/.ATTRIBUTES/" not in key}
    assert named == (set(expected) if c.checkpoint_format == "dual" else set())
    for to in ("tf1", "dual", "tf2"):
        converted = str(folder / f"to-{to}" / os.path.basename(prefix))
        convert(prefix, converted, to=to)
        _require_sound(converted)
        difference = diff(prefix, converted)
        assert difference.changes == (), difference
    if c.checkpoint_fn == "none":  # whose containers may have other names
        by_name = str(folder / "to-tf1" / os.path.basename(prefix))
        assert_equal(_read(by_name), expected, "converted to tf1")
    if c.tf1_dir == "yes":
        assert_equal(jobs.listed(wrapped.tf1_dir), jobs.listed(raw.model_dir), "tf1_dir")
        emitted = str(tf.train.latest_checkpoint(wrapped.tf1_dir))
        _require_sound(emitted)
        assert_equal(_read(emitted), expected, "tf1_dir")


def _require_sound(prefix: str) -> None:
    assert not verify(prefix).findings, prefix


def _read_by_objects(prefix: str) -> None:
    """Loads a checkpoint into objects of its shape, by `tf.train.Checkpoint`."""
    root: dict[str, Any] = {}
    held = {}
    for key, value in _read(prefix).items():
        if key.endswith(jobs.VALUE) and key != "save_counter" + jobs.VALUE:
            *above, last = parse_key(key).path
            branch = root
            for name in above:
                branch = branch.setdefault(name, {})
            with tf.init_scope():
                branch[last] = held[key] = tf.Variable(np.zeros_like(value))
    checkpoint = tf.train.Checkpoint(**root)
    checkpoint.read(prefix).assert_existing_objects_matched()
    for key, variable in held.items():
        np.testing.assert_array_equal(variable.numpy(), tf.train.load_variable(prefix, key))


def _resume_across(raw: Job, wrapped: Job, folder: pathlib.Path) -> None:
    """Goes on raw from raw; then wrapped from raw, and raw from wrapped, where TensorFlow can."""
    c = raw.configuration
    ways = [(raw, "raw"), (wrapped, "wrapped"), (raw, "wrapped")]
    if c.checkpoint_format == "dual" or c.saver == "checkpoint":
        ways.append((wrapped, "raw"))
    results: dict[str, Any] = {}
    for source, how in ways:
        name = f"{source.how}-then-{how}"
        shutil.copytree(source.model_dir, folder / name)
        latest = str(folder / name / os.path.basename(_latest(source)))
        tf1.train.update_checkpoint_state(str(folder / name), latest)  # a state may have full paths
        job = Job(dataclasses.replace(c, calls="train"), how, str(folder / name))
        train(job, steps=1)
        results[name] = _read(_latest(job))
    expected = results.pop("raw-then-raw")
    for name, found in results.items():
        if name.endswith("raw"):
            assert_equal(found, expected, name)
        elif c.checkpoint_format == "dual" or c.saver == "checkpoint":
            assert_equal({key: found.get(key) for key in expected}, expected, name)
    after_raw, after_wrapped = results["raw-then-wrapped"], results["wrapped-then-wrapped"]
    if (c.trait, c.saver) == ("table", "checkpoint"):  # raw, it leaves the table out, which is lost
        keys = [key for key in after_raw if "seen" in key]
        assert keys and all(len(after_raw.pop(key)) == 1 for key in keys)
        assert all(len(after_wrapped.pop(key)) > 1 for key in keys)
    assert_equal(after_raw, after_wrapped, "resumed")


def main(first: int, last: int) -> int:
    """Runs the pairs of seeds, and prints each failing configuration as a script; counts those."""
    failed = 0
    for seed in range(first, last + 1):
        for configuration in pairwise(seed):
            if fails(configuration):
                failed += 1
                print(script(shrink(configuration, fails)), flush=True)
    return failed


if __name__ == "__main__":  # python tests/support/job_combinations.py FIRST_SEED LAST_SEED
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2])), 1))
