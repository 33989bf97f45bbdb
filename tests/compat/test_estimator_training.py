"""What RunConfig and train_and_evaluate get from `estimator_training`: ours, and TensorFlow's.

Where TensorFlow still has its own, both have to meet the same expectations. Real clusters are in
`tests/conformance/test_distribution.py`.
"""

from __future__ import annotations

import importlib
import json

import jobs
import numpy as np
import pytest
import tensorflow as tf

from estimator_ckpt.compat import estimator_training

tf1 = tf.compat.v1

HAS_ITS_OWN = tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16)
ADDRESS = "127.0.0.1:{}"
CHIEF_AND_WORKERS = {"chief": [ADDRESS.format(1)], "worker": [ADDRESS.format(2), ADDRESS.format(3)]}
WITH_SERVERS = {**CHIEF_AND_WORKERS, "ps": [ADDRESS.format(4)]}
WORKERS = {"worker": CHIEF_AND_WORKERS["worker"]}
WITH_MASTER = {"master": [ADDRESS.format(1)], "worker": [ADDRESS.format(2)]}


class Distribution:
    """What `experimental_distribute` takes."""

    def __init__(self, train_distribute=None, eval_distribute=None, remote_cluster=None):
        self.train_distribute = train_distribute
        self.eval_distribute = eval_distribute
        self.remote_cluster = remote_cluster


@pytest.fixture(scope="module")
def mirrored():
    return tf.distribute.MirroredStrategy(["CPU:0"])


@pytest.fixture(params=["ours", "tensorflow's"])
def run_config(request, monkeypatch):
    """`RunConfig` of a task, made with one implementation or the other."""
    if request.param == "ours":
        module = importlib.import_module("tensorflow_estimator.python.estimator.run_config")
        monkeypatch.setattr(module, "distribute_coordinator_training", estimator_training)
    elif not HAS_ITS_OWN:
        pytest.skip(f"TensorFlow {tf.__version__} has none")

    def make(cluster=None, task=None, **arguments):
        found = {"cluster": cluster, "task": task and {"type": task[0], "index": task[1]}}
        monkeypatch.setenv(
            "TF_CONFIG", json.dumps({key: each for key, each in found.items() if each})
        )
        return tf.estimator.RunConfig(**arguments)

    return make


def runs_by_itself(config):
    return estimator_training.should_run_distribute_coordinator(config)


def described(config):
    return {
        "cluster": config.cluster_spec.as_dict() if config.cluster_spec else {},
        "task": (config.task_type, config.task_id),
        "master": config.master,
        "is_chief": config.is_chief,
        "counts": (config.num_ps_replicas, config.num_worker_replicas),
        "global_id": config.global_id_in_cluster,
    }


LOCAL = {
    "cluster": {},
    "task": ("worker", 0),
    "master": "",
    "is_chief": True,
    "counts": (0, 1),
    "global_id": 0,
}


def test_without_a_cluster_it_is_local(run_config, mirrored):
    config = run_config(train_distribute=mirrored, eval_distribute=mirrored)
    assert described(config) == LOCAL
    assert not runs_by_itself(config)
    assert config.train_distribute is not None
    assert config.eval_distribute is not None


@pytest.mark.parametrize("cluster", [CHIEF_AND_WORKERS, WITH_SERVERS, WORKERS])
@pytest.mark.parametrize("task", [("chief", 0), ("worker", 1), ("ps", 0), ("evaluator", 0)])
def test_the_coordinator_will_tell_the_task_of_a_cluster(run_config, mirrored, cluster, task):
    config = run_config(cluster, task, train_distribute=mirrored)
    assert described(config) == {**LOCAL, "cluster": cluster}
    assert runs_by_itself(config)
    assert config._distribute_coordinator_mode == "independent_worker"


def test_evaluation_alone_needs_no_coordinator(run_config, mirrored):
    config = run_config(WITH_SERVERS, ("worker", 1), eval_distribute=mirrored)
    assert not runs_by_itself(config)
    assert described(config) == {
        "cluster": WITH_SERVERS,
        "task": ("worker", 1),
        "master": "grpc://127.0.0.1:3",
        "is_chief": False,
        "counts": (1, 3),
        "global_id": 2,
    }
    assert list(config.session_config.device_filters) == ["/job:ps", "/job:worker/task:1"]


def test_a_cluster_with_a_master_needs_no_coordinator(run_config, mirrored):
    config = run_config(WITH_MASTER, ("master", 0), train_distribute=mirrored)
    assert not runs_by_itself(config)
    assert config.task_type == "master"


def test_strategies_of_experimental_distribute_count(run_config, mirrored):
    config = run_config(experimental_distribute=Distribution(mirrored, mirrored))
    assert config.train_distribute is not None
    assert config.eval_distribute is not None
    assert not runs_by_itself(config)


def test_a_remote_cluster_makes_this_the_client(run_config, mirrored):
    remote = tf.train.ClusterSpec(CHIEF_AND_WORKERS)
    wanted = Distribution(mirrored, remote_cluster=remote)
    config = run_config(experimental_distribute=wanted)
    assert config._distribute_coordinator_mode == "standalone_client"
    assert described(config) == {**LOCAL, "cluster": CHIEF_AND_WORKERS}


def test_what_is_given_twice_is_refused(run_config, mirrored):
    for name in ("train_distribute", "eval_distribute"):
        wanted = Distribution(**{name: mirrored})
        with pytest.raises(ValueError, match=name):
            run_config(experimental_distribute=wanted, **{name: mirrored})
    wanted = Distribution(mirrored, remote_cluster=tf.train.ClusterSpec(WORKERS))
    with pytest.raises(ValueError, match="remote_cluster"):
        run_config(WORKERS, ("worker", 0), experimental_distribute=wanted)


@pytest.fixture(params=["ours", "tensorflow's"])
def implementation(request):
    if request.param == "ours":
        return estimator_training
    if not HAS_ITS_OWN:
        pytest.skip(f"TensorFlow {tf.__version__} has none")
    return importlib.import_module("tensorflow.python.distribute.estimator_training")


@pytest.mark.parametrize(
    ("mode", "cluster", "expected"),
    [
        ("independent_worker", WORKERS, True),
        ("standalone_client", WORKERS, True),
        ("independent_worker", {}, False),
        ("standalone_client", {}, False),
        ("some_other_mode", WORKERS, False),
        (1, WORKERS, False),
        (["independent_worker"], WORKERS, False),
        (None, WORKERS, False),
    ],
)
def test_only_a_known_mode_with_a_cluster_has_a_coordinator(
    implementation, mode, cluster, expected
):
    config = tf.estimator.RunConfig()
    config._distribute_coordinator_mode = mode
    config._cluster_spec = tf.train.ClusterSpec(cluster)
    assert implementation.should_run_distribute_coordinator(config) is expected


def test_a_config_that_knows_no_mode_has_no_coordinator(implementation):
    assert implementation.should_run_distribute_coordinator(object()) is False


class EstimatorWithAConfig:
    """All that `train_and_evaluate` may ask of an Estimator before there is a task to run."""

    def __init__(self, config):
        self.config = config


def test_train_and_evaluate_reads_the_public_config(implementation):
    estimator = EstimatorWithAConfig(tf.estimator.RunConfig())
    estimator.config._distribute_coordinator_mode = None
    train_spec = tf.estimator.TrainSpec(jobs.same_batch_input_fn, max_steps=1)
    eval_spec = tf.estimator.EvalSpec(jobs.same_batch_input_fn)
    with pytest.raises(ValueError, match=r"(?i)distribute coordinator mode"):
        implementation.train_and_evaluate(estimator, train_spec, eval_spec, None)


def test_train_and_evaluate_takes_strategy_and_cluster_from_the_public_config(
    implementation, mirrored, monkeypatch
):
    given = {}
    monkeypatch.setattr(
        estimator_training.coordinator,
        "run_distribute_coordinator",
        lambda train, strategy, *rest, **options: given.update(options, strategy=strategy),
    )
    cluster = tf.train.ClusterSpec(CHIEF_AND_WORKERS)
    config = tf.estimator.RunConfig(
        experimental_distribute=Distribution(mirrored, remote_cluster=cluster)
    )
    train_spec = tf.estimator.TrainSpec(jobs.same_batch_input_fn, max_steps=1)
    eval_spec = tf.estimator.EvalSpec(jobs.same_batch_input_fn)
    implementation.train_and_evaluate(EstimatorWithAConfig(config), train_spec, eval_spec, None)
    assert given["strategy"] is mirrored
    assert given["cluster_spec"] == cluster
    assert given["mode"] == "standalone_client"


@pytest.fixture
def coordinated(monkeypatch):
    """An Estimator with one implementation or the other, as all parts of it see it."""

    def make(strategy, model_dir, **arguments):
        for name in ("run_config", "training", "estimator"):
            module = importlib.import_module(f"tensorflow_estimator.python.estimator.{name}")
            monkeypatch.setattr(module, "distribute_coordinator_training", estimator_training)
        return jobs.make_estimator(jobs.adam_model_fn, model_dir, **arguments)

    return make


@pytest.mark.parametrize("method", ["train", "evaluate"])
def test_a_task_of_a_cluster_has_to_call_train_and_evaluate(
    coordinated, monkeypatch, mirrored, tmp_path, method
):
    task = {"cluster": CHIEF_AND_WORKERS, "task": {"type": "chief", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    estimator = coordinated(mirrored, tmp_path, train_distribute=mirrored, eval_distribute=mirrored)
    with pytest.raises(ValueError, match=f"Estimator.{method}.*train_and_evaluate in all of them"):
        getattr(estimator, method)(jobs.same_batch_input_fn, steps=1)


@pytest.mark.parametrize("method", ["train", "evaluate"])
def test_workers_with_a_graph_each_have_no_single_client(coordinated, tmp_path, method):
    servers = tf1.distribute.experimental.ParameterServerStrategy()
    wanted = Distribution(servers, servers, tf.train.ClusterSpec(WITH_SERVERS))
    estimator = coordinated(servers, tmp_path, experimental_distribute=wanted)
    with pytest.raises(ValueError, match=r"a graph each: call tf\.estimator\.train_and_evaluate"):
        getattr(estimator, method)(jobs.same_batch_input_fn, steps=1)


@pytest.mark.slow
def test_a_client_trains_on_plain_servers(coordinated, tmp_path):
    from estimator_ckpt.examples.local_cluster import free_ports

    kinds = ("chief", "worker", "ps")
    cluster = {kind: [ADDRESS.format(port)] for kind, port in zip(kinds, free_ports(3))}
    spec = tf.train.ClusterSpec(cluster)
    servers = [tf.distribute.Server(spec, job_name=kind, task_index=0) for kind in kinds]
    strategy = tf1.distribute.experimental.ParameterServerStrategy()
    wanted = Distribution(strategy, remote_cluster=spec)
    estimator = coordinated(strategy, tmp_path, experimental_distribute=wanted)
    train_spec = tf.estimator.TrainSpec(jobs.same_batch_input_fn, max_steps=4)
    eval_spec = tf.estimator.EvalSpec(jobs.same_batch_input_fn, steps=1)
    assert tf.estimator.train_and_evaluate(estimator, train_spec, eval_spec) is None
    values = jobs.values(tf.train.latest_checkpoint(str(tmp_path)))
    assert values["global_step"] >= 4  # two workers count
    assert np.abs(values["layer/b"]).max() > 0
    del servers


@pytest.mark.parametrize("how", ["train", "evaluate"])
def test_mirrored_without_a_cluster(coordinated, mirrored, tmp_path, how):
    plain = jobs.make_estimator(jobs.adam_model_fn, tmp_path / "plain")
    strategies = {f"{name}_distribute": mirrored for name in ("train", "eval")}
    estimator = coordinated(mirrored, tmp_path / "mirrored", **strategies)
    for each in (plain, estimator):
        each.train(jobs.same_batch_input_fn, steps=3)
    if how == "train":
        jobs.assert_equal_values(
            jobs.values(estimator.latest_checkpoint()), jobs.values(plain.latest_checkpoint())
        )
    else:
        losses = [
            each.evaluate(jobs.same_batch_input_fn, steps=1)["loss"] for each in (plain, estimator)
        ]
        assert losses[0] == losses[1]
