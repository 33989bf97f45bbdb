"""Estimator's own machinery around a job: steps, hooks, exporters, directories, sessions."""

import os

import jobs
import tensorflow as tf
from scenarios import conformance_test, scenario

import estimator_ckpt

tf1 = tf.compat.v1
_GROUP = "Estimator's own machinery"
_LATER = "what a checkpoint stops goes on for the steps that its writing takes"
_BY_NAME = "the step is looked up as `global_step`"


def _metrics_model_fn(features, labels, mode):
    """`jobs.adam_model_fn` with a metric and a summary of its own."""
    spec = jobs.adam_model_fn(features, labels, mode)
    if mode == tf.estimator.ModeKeys.PREDICT:
        return spec
    y = spec.predictions["y"]
    tf1.summary.scalar("largest", tf.reduce_max(y))
    metrics = {"mae": tf1.metrics.mean_absolute_error(labels, y)}
    return spec._replace(eval_metric_ops=metrics)


def _specs(max_steps, exporters=None, hooks=()):
    return (
        tf.estimator.TrainSpec(jobs.same_batch_input_fn, max_steps, hooks=hooks),
        tf.estimator.EvalSpec(
            jobs.input_fn, steps=2, start_delay_secs=0, throttle_secs=0, exporters=exporters
        ),
    )


def _saved_values(export_dir):
    """{name: value} of a SavedModel's variables."""
    reader = tf.train.load_checkpoint(os.path.join(os.fsdecode(export_dir), "variables/variables"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _events(folder):
    """[(step, what, value)] of the event files of a folder, but for graphs and times."""
    found = []
    for path in sorted(folder.glob("events.*")):
        for event in tf1.train.summary_iterator(str(path)):
            if event.WhichOneof("what") == "session_log":
                # The path is that of the folder, which each job has its own of.
                name = os.path.basename(event.session_log.checkpoint_path)
                found.append((event.step, int(event.session_log.status), name))
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                if kind == "simple_value":
                    found.append((event.step, value.tag, value.simple_value))
                elif kind == "tensor" and value.tag == "checkpoint_path":
                    path = tf.make_ndarray(value.tensor).item().decode()
                    found.append((event.step, value.tag, os.path.basename(path)))
    return found


@scenario(_GROUP, tf2=_BY_NAME)
def max_steps_again(job):
    """train(max_steps=4) again and again: trains once."""
    for _ in range(3):
        estimator = job.estimator(jobs.adam_model_fn)
        estimator.train(jobs.same_batch_input_fn, max_steps=4)
    return job.values(), job.checkpoints()


@scenario(_GROUP)
def max_steps_further_on(job):
    """train(max_steps=...) from a checkpoint before it: trains up to there."""
    for max_steps in (2, 5):
        estimator = job.estimator(jobs.adam_model_fn)
        estimator.train(jobs.same_batch_input_fn, max_steps=max_steps)
    return job.values(), job.checkpoints()


@scenario(_GROUP)
def steps_add_up(job):
    """train(steps=...) again and again: adds up, with checkpoints where they are due."""
    listed = []
    for steps in (3, 2):
        job.train(jobs.adam_model_fn, steps=steps, save_checkpoints_steps=2)
        listed.append(job.checkpoints())
    return job.values(), listed


@scenario(_GROUP)
def one_estimator_trains_and_evaluates_by_turns(job):
    """One Estimator object that trains, evaluates and predicts by turns."""
    estimator = job.estimator(_metrics_model_fn)
    found = []
    for _ in range(2):
        estimator.train(jobs.same_batch_input_fn, steps=2)
        found.append(estimator.evaluate(jobs.input_fn, steps=2))
        predictions = estimator.predict(jobs.same_batch_input_fn, yield_single_examples=False)
        found.append(next(predictions))
    return found


@scenario(_GROUP)
def hooks_that_wait_for_a_step(job):
    """GlobalStepWaiterHook and the stop-at-checkpoint-step hook of the chief."""
    job.train(jobs.adam_model_fn, steps=3)
    waiter = tf1.train.GlobalStepWaiterHook(3)
    estimator = job.estimator(jobs.adam_model_fn)
    stop = tf.estimator.experimental.make_stop_at_checkpoint_step_hook(estimator, 6)
    estimator.train(jobs.same_batch_input_fn, hooks=[waiter, stop])
    return job.values(), job.checkpoints()


@scenario(_GROUP, tf2=_BY_NAME, asynchronous=_LATER)
def worker_stops_at_a_checkpoints_step(job):
    """The stop-at-checkpoint-step hook of a worker, which reads the step from the model_dir."""
    estimator = job.train(jobs.adam_model_fn, steps=3, save_checkpoints_steps=1)
    worker = tf.estimator.experimental.make_stop_at_checkpoint_step_hook
    # The hook of a worker: its class is not public, and a config of a worker starts a server.
    config = estimator.config.replace()
    config._is_chief = False

    class Worker:
        model_dir = estimator.model_dir

    Worker.config = config
    hook = worker(Worker, 5, wait_after_file_check_secs=0)
    last = tf1.train.StopAtStepHook(last_step=9)  # in case nothing stops it before
    estimator.train(jobs.same_batch_input_fn, hooks=[hook, last])
    return job.values(), job.checkpoints()


@scenario(_GROUP, tf2=_BY_NAME, slow=True)
def train_and_evaluate_again(job):
    """train_and_evaluate, run again after its end and with more steps."""
    found = []
    for max_steps in (4, 4, 6):
        estimator = job.estimator(_metrics_model_fn, save_checkpoints_steps=2)
        metrics, _ = tf.estimator.train_and_evaluate(estimator, *_specs(max_steps))
        found.append((metrics, job.checkpoints()))
    return found, job.values()


@scenario(_GROUP)
def train_and_evaluate_goes_on(job):
    """train_and_evaluate from a checkpoint that lies there; its evaluations' summaries."""
    job.train(_metrics_model_fn, steps=2)
    estimator = job.estimator(_metrics_model_fn, save_checkpoints_steps=1)
    metrics, _ = tf.estimator.train_and_evaluate(estimator, *_specs(4))
    return metrics, job.checkpoints(), _events(job.model_dir / "eval")


@scenario(_GROUP, slow=True)
def exporters(job):
    """BestExporter, LatestExporter and FinalExporter: when each exports, and what."""
    made = [
        tf.estimator.BestExporter("best", jobs.serving_input_fn, exports_to_keep=1),
        tf.estimator.LatestExporter("latest", jobs.serving_input_fn, exports_to_keep=1),
        tf.estimator.FinalExporter("final", jobs.serving_input_fn),
    ]
    estimator = job.estimator(_metrics_model_fn, save_checkpoints_steps=2)
    _, results = tf.estimator.train_and_evaluate(estimator, *_specs(4, made))
    found = {}
    for exporter in made:
        folders = sorted((job.model_dir / "export" / exporter.name).iterdir())
        found[exporter.name] = [_saved_values(folder) for folder in folders]
    assert [os.fsdecode(path).split("/")[-2] for path in results] == ["best", "latest", "final"]
    return found


@scenario(_GROUP)
def best_exporter_goes_on(job):
    """A BestExporter that compares with the evaluations of a run before it."""
    found = []

    def is_better(best_eval_result, current_eval_result):
        compared.append((best_eval_result["loss"], current_eval_result["loss"]))
        return False

    compared = []
    for max_steps in (2, 4):
        exporter = tf.estimator.BestExporter("best", jobs.serving_input_fn, compare_fn=is_better)
        estimator = job.estimator(_metrics_model_fn)
        _, results = tf.estimator.train_and_evaluate(estimator, *_specs(max_steps, exporter))
        found.append([path and _saved_values(path) for path in results])
    assert compared  # the second run knows of the first one's evaluations
    return found, compared


def _receivers():
    def supervised():
        x, y = tf1.placeholder(tf.float32, [None, 4]), tf1.placeholder(tf.float32, [None, 3])
        return tf.estimator.experimental.build_raw_supervised_input_receiver_fn({"x": x}, y)()

    modes = tf.estimator.ModeKeys
    return {
        modes.TRAIN: supervised,
        modes.EVAL: supervised,
        modes.PREDICT: jobs.serving_input_fn,
    }


def _loaded(export_dir, tag):
    """{name: value} of the variables after loading one of the graphs of a SavedModel."""
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.saved_model.load(session, [tag], os.fsdecode(export_dir))
        return session.run({v.op.name: v for v in tf1.global_variables()})


@scenario(_GROUP)
def export_all_saved_models(job):
    """experimental_export_all_saved_models: the graphs of all modes load from one SavedModel."""
    job.train(_metrics_model_fn, steps=3)
    return _all_exported(job)


@scenario(_GROUP)
def export_all_saved_models_from_tf1(job):
    """experimental_export_all_saved_models from a TF1 checkpoint."""
    type(job)("raw", job.folder).train(_metrics_model_fn, steps=3)
    return _all_exported(job)


def _all_exported(job):
    estimator = job.estimator(_metrics_model_fn)
    path = estimator.experimental_export_all_saved_models(str(job.folder / "out"), _receivers())
    return _saved_values(path), {tag: _loaded(path, tag) for tag in ("train", "eval", "serve")}


@scenario(_GROUP)
def export_saved_model_of_each_mode(job):
    """export_saved_model for PREDICT and for EVAL, of a checkpoint that is not the latest."""
    estimator = job.train(_metrics_model_fn, steps=3, save_checkpoints_steps=1)
    found = {}
    for mode, tag in (("infer", "serve"), ("eval", "eval")):
        path = estimator.export_saved_model(
            str(job.folder / tag),
            _receivers()[mode],
            checkpoint_path=str(job.model_dir / "model.ckpt-2"),
            experimental_mode=mode,
        )
        found[tag] = _saved_values(path), _loaded(path, tag)
    return found


@scenario(_GROUP, asynchronous=_LATER)
def early_stopping(job):
    """Early stopping when the loss no longer decreases, and going on after it."""
    estimator = job.estimator(_metrics_model_fn, save_checkpoints_steps=2)
    os.makedirs(estimator.eval_dir())
    never_better = tf.estimator.experimental.stop_if_lower_hook(
        estimator, "mae", 1e9, min_steps=4, run_every_secs=None, run_every_steps=1
    )
    tf.estimator.train_and_evaluate(estimator, *_specs(20, hooks=[never_better]))
    stopped = job.values(), job.checkpoints()
    estimator.train(jobs.same_batch_input_fn, steps=1)
    return stopped, job.values()


@scenario(_GROUP)
def in_memory_evaluator(job):
    """InMemoryEvaluatorHook: its metrics at each turn, and the checkpoints beside it."""
    estimator = job.estimator(_metrics_model_fn, save_checkpoints_steps=2)
    hook = tf.estimator.experimental.InMemoryEvaluatorHook(
        estimator, jobs.input_fn, steps=2, every_n_iter=2
    )
    estimator.train(jobs.same_batch_input_fn, steps=4, hooks=[hook])
    return _events(job.model_dir / "eval"), job.values(), job.checkpoints()


@scenario(_GROUP, tf2=_BY_NAME)
def code_that_reads_global_step_by_name(job):
    """Code that reads the latest checkpoint's step by its name, as AdaNet does."""
    job.train(jobs.adam_model_fn, steps=3)
    if job.how == "tf2":
        return None
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(job.model_dir)))
    return reader.get_tensor("global_step"), reader.has_tensor("layer/w/Adam")


class _Listener(tf1.train.CheckpointSaverListener):
    """Writes down its calls, and what lies in the model_dir at that time."""

    def __init__(self, model_dir):
        self.model_dir = model_dir
        self.calls = []

    def _note(self, what, step=None):
        latest = tf.train.latest_checkpoint(self.model_dir)
        self.calls.append((what, step, latest and os.path.basename(latest)))

    def begin(self):
        self._note("begin")

    def before_save(self, session, global_step_value):
        self._note("before", global_step_value)

    def after_save(self, session, global_step_value):
        self._note("after", global_step_value)

    def end(self, session, global_step_value):
        self._note("end", global_step_value)


@scenario(_GROUP)
def saving_listeners(job):
    """saving_listeners: called as often, in the same order, with the checkpoint in place."""
    listener = _Listener(str(job.model_dir))
    for steps in (5, 1):
        estimator = job.estimator(jobs.adam_model_fn, save_checkpoints_steps=2)
        estimator.train(jobs.same_batch_input_fn, steps=steps, saving_listeners=[listener])
    return listener.calls


@scenario(_GROUP, asynchronous=_LATER)
def saving_listeners_stop_a_job(job):
    """A saving listener that stops the training."""

    class Stopper(_Listener):
        def after_save(self, session, global_step_value):
            super().after_save(session, global_step_value)
            return global_step_value >= 2

    listener = Stopper(str(job.model_dir))
    estimator = job.estimator(jobs.adam_model_fn, save_checkpoints_steps=1)
    estimator.train(jobs.same_batch_input_fn, steps=9, saving_listeners=[listener])
    return listener.calls, job.values()


@scenario(_GROUP, tf2="names are those of the format")
def variables_by_name(job):
    """get_variable_names and get_variable_value, with the names that a TF1 checkpoint has."""
    estimator = job.train(jobs.adam_model_fn, steps=2)
    names = [name for name in estimator.get_variable_names() if "ATTRIBUTES" not in name]
    names = sorted(set(names) - {"_CHECKPOINTABLE_OBJECT_GRAPH"})
    return {name: estimator.get_variable_value(name) for name in names}


@scenario(_GROUP)
def latest_checkpoint(job):
    """latest_checkpoint, get_checkpoint_state and get_checkpoint_mtimes."""
    estimator = job.estimator(jobs.adam_model_fn)
    found = [estimator.latest_checkpoint()]
    for _ in range(2):
        estimator.train(jobs.same_batch_input_fn, steps=2)
        found.append(os.path.relpath(estimator.latest_checkpoint(), job.model_dir))
    state = tf.train.get_checkpoint_state(str(job.model_dir))
    found.append([os.path.relpath(p, job.model_dir) for p in state.all_model_checkpoint_paths])
    found.append(tf1.train.checkpoint_exists(estimator.latest_checkpoint()))
    found.append(len(tf1.train.get_checkpoint_mtimes([estimator.latest_checkpoint()])))
    return found


@scenario(_GROUP)
def checkpoints_iterator(job):
    """tf.train.checkpoints_iterator beside the training: each checkpoint, evaluated."""
    estimator = job.estimator(_metrics_model_fn)
    iterator = tf.train.checkpoints_iterator(str(job.model_dir), timeout=0.01)
    found = []
    for _ in range(2):
        estimator.train(jobs.same_batch_input_fn, steps=2)
        metrics = estimator.evaluate(jobs.input_fn, steps=1, checkpoint_path=next(iterator))
        found.append(metrics)
    return found, list(iterator)


@scenario(_GROUP)
def moved_model_dir(job):
    """A model_dir that was moved: evaluates, goes on, and still removes what is too old."""
    job.train(_metrics_model_fn, steps=2, save_checkpoints_steps=1, keep_checkpoint_max=2)
    job.model_dir.rename(job.folder / "moved")
    estimator = job.estimator(
        _metrics_model_fn,
        job.folder / "moved",
        save_checkpoints_steps=1,
        keep_checkpoint_max=2,
    )
    metrics = estimator.evaluate(jobs.input_fn, steps=1)
    estimator.train(jobs.same_batch_input_fn, steps=2)
    files = sorted(path.name for path in (job.folder / "moved").glob("*.index"))
    return metrics, files, jobs.listed(job.folder / "moved"), job.values(job.folder / "moved")


@scenario(_GROUP)
def keep_checkpoint_max(job):
    """keep_checkpoint_max, also over two calls of train, and 0, which keeps all."""
    found = []
    for kept, model_dir in ((2, "two"), (0, "all")):
        for _ in range(2):
            job.train(
                jobs.adam_model_fn,
                steps=3,
                model_dir=job.folder / model_dir,
                save_checkpoints_steps=1,
                keep_checkpoint_max=kept,
            )
        files = sorted(path.name for path in (job.folder / model_dir).glob("*.index"))
        found.append((files, jobs.listed(job.folder / model_dir)))
    return found


@scenario(_GROUP)
def keep_checkpoint_every_n_hours(job):
    """keep_checkpoint_every_n_hours: more than keep_checkpoint_max stay."""
    job.train(
        jobs.adam_model_fn,
        steps=3,
        save_checkpoints_steps=1,
        keep_checkpoint_max=1,
        keep_checkpoint_every_n_hours=1e-9,
    )
    return sorted(path.name for path in job.model_dir.glob("*.index")), job.checkpoints()


@scenario(_GROUP)
def save_checkpoints_secs(job):
    """save_checkpoints_secs: saves in between and at the end."""
    job.train(jobs.adam_model_fn, steps=4, save_checkpoints_secs=1e-6)
    return job.checkpoints(), job.values()


def _pretrained(job):
    """A name-based checkpoint that another job wrote."""
    estimator = jobs.make_estimator(jobs.adam_model_fn, job.folder / "pretrained")
    estimator.train(jobs.input_fn, steps=3)
    return estimator.latest_checkpoint()


@scenario(_GROUP)
def init_fn_restores_by_the_scaffolds_saver(job):
    """An init_fn that restores a TF1 checkpoint through scaffold.saver."""
    pretrained = _pretrained(job)

    def model_fn(features, labels, mode):
        def init_fn(scaffold, session):
            scaffold.saver.restore(session, pretrained)

        spec = jobs.adam_model_fn(features, labels, mode)
        return spec._replace(scaffold=tf1.train.Scaffold(init_fn=init_fn))

    found = []
    for _ in range(2):  # the second one goes on from the model_dir
        job.train(model_fn, steps=2)
        found.append(job.values())
    return found, job.checkpoints()


@scenario(_GROUP)
def init_fn_restores_some_by_its_own_saver(job):
    """An init_fn that restores some variables of a TF1 checkpoint with a Saver of its own."""
    pretrained = _pretrained(job)

    def model_fn(features, labels, mode):
        spec = jobs.adam_model_fn(features, labels, mode)
        saver = tf1.train.Saver(tf1.trainable_variables())
        scaffold = tf1.train.Scaffold(init_fn=lambda _, session: saver.restore(session, pretrained))
        return spec._replace(scaffold=scaffold)

    job.train(model_fn, steps=2)
    return job.values(), job.checkpoints()


def _init_from(source):
    """A model_fn in the scope `new/` that starts from the scope `layer/` of a checkpoint."""

    def model_fn(features, labels, mode):
        with tf1.variable_scope("new"):
            spec = jobs.adam_model_fn(features, labels, mode)
        tf1.train.init_from_checkpoint(source, {"layer/": "new/layer/"})
        return spec

    return model_fn


@scenario(_GROUP)
def init_from_a_tf1_checkpoint(job):
    """init_from_checkpoint in the model_fn, from a TF1 checkpoint, scopes renamed."""
    model_fn = _init_from(_pretrained(job))
    found = []
    for _ in range(2):
        job.train(model_fn, steps=1)
        found.append(job.values())
    return found


@scenario(_GROUP, tf2="it maps the names of its format: convert it first")
def init_from_the_jobs_own_checkpoint(job):
    """init_from_checkpoint in the model_fn, from the checkpoint of a job like this one."""
    job.train(jobs.adam_model_fn, steps=3, model_dir=job.folder / "source")
    source = str(job.folder / "source")
    if job.how == "tf2":
        source = estimator_ckpt.convert(source, job.folder / "by-name" / "model", to="tf1").prefix
    job.train(_init_from(source), steps=1)
    return job.values()


@scenario(_GROUP)
def profiler_and_summaries(job):
    """ProfilerHook, and the summaries and session logs of training and evaluation."""
    timelines = job.folder / "timelines"
    timelines.mkdir()
    with tf.Graph().as_default():  # its summary writer refuses to be made in eager mode
        profiler = tf1.train.ProfilerHook(save_steps=2, output_dir=str(timelines))
    job.train(_metrics_model_fn, steps=4, hooks=[profiler], save_summary_steps=1)
    estimator = job.estimator(_metrics_model_fn)
    estimator.evaluate(jobs.input_fn, steps=2, name="held_out")
    return (
        sorted(path.name for path in timelines.glob("timeline*")),
        _events(job.model_dir),
        _events(job.model_dir / "eval_held_out"),
    )


@scenario(_GROUP)
def logging_and_final_hooks(job):
    """Hooks that read tensors by name: LoggingTensorHook, FinalOpsHook, NanTensorHook."""
    logged = []

    def model_fn(features, labels, mode):
        spec = _metrics_model_fn(features, labels, mode)
        tf.identity(spec.loss, name="named_loss")
        return spec

    def log(values):
        logged.append(values)
        return ""

    class Weights(tf1.train.FinalOpsHook):
        def begin(self):
            self._final_ops = [variable.value() for variable in tf1.trainable_variables()]

    weights = Weights(None)
    logging_hook = tf1.train.LoggingTensorHook(["named_loss:0"], 1, formatter=log)
    hooks = [logging_hook, tf1.train.NanTensorHook("named_loss:0"), weights]
    job.train(model_fn, steps=3, hooks=hooks)
    return logged, weights.final_ops_values


def _session_steps(job, steps):
    """Trains in a MonitoredTrainingSession, without any Estimator."""
    with tf.Graph().as_default():
        tf1.set_random_seed(1)
        step = tf1.train.get_or_create_global_step()
        features = {"x": tf.constant(jobs.FEATURES[:8])}
        spec = jobs.adam_model_fn(features, tf.constant(jobs.LABELS[:8]), "train")
        scaffold = None
        if job.how != "raw":
            scaffold = estimator_ckpt.checkpoint_scaffold(checkpoint_format=job.how)
        losses = []
        with tf1.train.MonitoredTrainingSession(
            checkpoint_dir=str(job.model_dir),
            scaffold=scaffold,
            save_checkpoint_steps=2,
            log_step_count_steps=None,
        ) as session:
            for _ in range(steps):
                losses.append(session.run([spec.loss, spec.train_op])[0])
            return losses, session.run(step)


@scenario("Without Estimator")
def monitored_training_session(job):
    """MonitoredTrainingSession with the library's Scaffold: trains, saves and goes on."""
    found = [_session_steps(job, 3), _session_steps(job, 3)]
    return found, job.values(), job.checkpoints()


@scenario("Without Estimator")
def monitored_training_session_over_tf1(job):
    """MonitoredTrainingSession over the TF1 checkpoints that it has saved before."""
    first = type(job)("raw", job.folder)
    return _session_steps(first, 3), _session_steps(job, 2), job.values(), job.checkpoints()


def _tpu_model_fn(features, labels, mode, params):
    del params
    spec = jobs.adam_model_fn({"x": features}, labels, mode)
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf1.estimator.tpu.TPUEstimatorSpec(mode, predictions=spec.predictions)

    def metric_fn(y, labels):
        return {"mae": tf1.metrics.mean_absolute_error(labels, y)}

    def scaffold_fn():
        return tf1.train.Scaffold(ready_for_local_init_op=tf.zeros([0], tf.string))

    return tf1.estimator.tpu.TPUEstimatorSpec(
        mode,
        loss=spec.loss,
        train_op=spec.train_op,
        eval_metrics=(metric_fn, [spec.predictions["y"], labels]),
        scaffold_fn=scaffold_fn,
    )


@scenario("Without Estimator")
def tpu_estimator_on_a_cpu(job):
    """TPUEstimator(use_tpu=False) with a scaffold_fn: trains, goes on, evaluates and predicts."""

    def input_fn(params):
        del params
        return tf.data.Dataset.from_tensors((jobs.FEATURES[:8], jobs.LABELS[:8])).repeat()

    found = []
    for _ in range(2):
        config = tf1.estimator.tpu.RunConfig(
            model_dir=str(job.model_dir), tf_random_seed=1, save_checkpoints_steps=2
        )
        estimator = tf1.estimator.tpu.TPUEstimator(
            job.wrap(_tpu_model_fn),
            config=config,
            use_tpu=False,
            train_batch_size=8,
            eval_batch_size=8,
            predict_batch_size=8,
        )
        estimator.train(input_fn, steps=3)
        found.append(estimator.evaluate(input_fn, steps=1))
        found.append(next(estimator.predict(input_fn)))
    return found, job.values(), job.checkpoints()


test_scenario = conformance_test(__name__)
