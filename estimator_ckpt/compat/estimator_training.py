"""Runs Estimators with tf.distribute strategies, as tensorflow-estimator asks for it.

It imports this as `tensorflow.python.distribute.estimator_training`, and calls

    init_run_config(config, tf_config)              # RunConfig.__init__, if there is a strategy
    should_run_distribute_coordinator(config)       # then, in train_and_evaluate,
    train_and_evaluate(estimator, train_spec, eval_spec, executor_cls)
    estimator_train(estimator, train_distributed_fn, hooks)          # Estimator.train
    estimator_evaluate(estimator, evaluate_distributed_fn, hooks)    # Estimator.evaluate

A RunConfig is in one of three modes. Without a cluster, it is local: a strategy spreads over the
devices of this process, and nothing here runs. With a cluster in TF_CONFIG each process of it is an
independent worker. With a `remote_cluster` this process is the client of a cluster whose tasks are
plain servers. In both of the latter, TensorFlow's distribute coordinator starts the server of this
task and calls back, in a context that says which task it is, with the strategy configured for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# Not public. They are what runs a strategy in a session of a cluster; MonitoredTrainingSession
# reads the context that the coordinator sets.
from tensorflow.python.distribute import distribute_coordinator as coordinator
from tensorflow.python.distribute.distribute_coordinator_context import get_current_worker_context

__all__ = [
    "estimator_evaluate",
    "estimator_train",
    "init_run_config",
    "should_run_distribute_coordinator",
    "train_and_evaluate",
]

from estimator_ckpt.messages import logger

_log = logger(__name__)
_CHIEF, _WORKER, _PS, _MASTER, _EVALUATOR = "chief", "worker", "ps", "master", "evaluator"
_INDEPENDENT_WORKER = coordinator.CoordinatorMode.INDEPENDENT_WORKER
_STANDALONE_CLIENT = coordinator.CoordinatorMode.STANDALONE_CLIENT


def init_run_config(config: Any, tf_config: dict[str, Any]) -> None:
    """Completes a RunConfig that has a strategy or an `experimental_distribute`.

    Args:
      config: the RunConfig, with all that its arguments gave it.
      tf_config: the content of TF_CONFIG.

    Raises:
      ValueError: a strategy or a cluster is given twice, or TF_CONFIG is not usable.
    """
    wanted = config._experimental_distribute
    config._train_distribute = _given_once(config, wanted, "train_distribute")
    config._eval_distribute = _given_once(config, wanted, "eval_distribute")
    has_strategy = config._train_distribute is not None
    own_cluster = tf_config.get("cluster")
    remote_cluster = getattr(wanted, "remote_cluster", None)
    if has_strategy and own_cluster and remote_cluster:
        raise ValueError(
            "there is a cluster in TF_CONFIG and one in experimental_distribute.remote_cluster; "
            "give one of them"
        )
    cluster = tf.train.ClusterSpec(remote_cluster or own_cluster or {})
    if not has_strategy or not cluster or _MASTER in cluster.jobs:
        config._distribute_coordinator_mode = None
        config._init_distributed_setting_from_environment_var(tf_config)
        config._maybe_overwrite_session_config_for_distributed_training()
        return
    config._distribute_coordinator_mode = (
        _STANDALONE_CLIENT if remote_cluster else _INDEPENDENT_WORKER
    )
    # Which task this is, the coordinator tells later; until then the process is on its own.
    config._cluster_spec = cluster
    config._service = None
    config._master = config._evaluation_master = ""
    config._is_chief = True
    config._task_type, config._task_id = _WORKER, 0
    config._num_ps_replicas = 0
    config._num_worker_replicas = 1
    config._global_id_in_cluster = 0


def _given_once(config: Any, wanted: Any, name: str) -> Any:
    """Returns the strategy that RunConfig has as an argument or in `experimental_distribute`."""
    argument = getattr(config, f"_{name}")
    inner = getattr(wanted, name, None)
    if argument is not None and inner is not None:
        raise ValueError(
            f"both {name} and experimental_distribute.{name} are given; give one of them"
        )
    return inner if argument is None else argument


def should_run_distribute_coordinator(config: Any) -> bool:
    """Returns whether a RunConfig is one for a cluster, with a strategy.

    A mode that this module does not know, or that has no cluster, is warned of: the job then runs
    on this machine alone.
    """
    mode = getattr(config, "_distribute_coordinator_mode", None)
    if mode is None:
        return False
    if mode not in (_INDEPENDENT_WORKER, _STANDALONE_CLIENT):
        _log.warning(
            "The RunConfig's distribute coordinator mode is %r, expected '%s' or '%s': "
            "train_and_evaluate runs without a cluster",
            mode,
            _INDEPENDENT_WORKER,
            _STANDALONE_CLIENT,
        )
        return False
    if not config.cluster_spec:
        _log.warning(
            "The RunConfig's distribute coordinator mode is '%s', but there is no cluster: "
            "train_and_evaluate runs without one",
            mode,
        )
        return False
    return True


def train_and_evaluate(estimator: Any, train_spec: Any, eval_spec: Any, executor_cls: Any) -> None:
    """Does what this process has to do in its cluster.

    Args:
      estimator: the Estimator, whose config is one for a cluster.
      train_spec: a TrainSpec. Its listeners are not called: Estimator refuses those of a strategy.
      eval_spec: an EvalSpec.
      executor_cls: makes an executor of these three, whose `run_evaluator` evaluates one checkpoint
        after another.

    Raises:
      ValueError: the config is none for a cluster.
    """
    config = estimator.config
    if not config._distribute_coordinator_mode:
        raise ValueError(
            "the RunConfig has no distribute coordinator mode: it is none for a cluster, with a "
            "train_distribute"
        )
    if train_spec.saving_listeners:
        _log.warning(
            "The saving_listeners of the TrainSpec are not called under %s",
            type(config.train_distribute).__name__,
        )

    def train(strategy: Any) -> None:
        own = _estimator_of_this_task(estimator, "train", strategy)
        own.train(
            input_fn=train_spec.input_fn,
            max_steps=train_spec.max_steps,
            hooks=_hooks_of_this_task(config, train_spec.hooks),
        )

    def evaluate(strategy: Any) -> None:
        own = _estimator_of_this_task(estimator, "eval", strategy)
        executor_cls(own, train_spec, eval_spec).run_evaluator()

    _run(config, train, evaluate)


def estimator_train(
    estimator: Any, train_distributed_fn: Callable[[Any, Any, Any], Any], hooks: Sequence[Any]
) -> Any:
    """Trains on a remote cluster, for `Estimator.train`.

    Args:
      estimator: the Estimator.
      train_distributed_fn: trains an estimator with a strategy and with hooks.
      hooks: the hooks.

    Returns:
      What the function returns.

    Raises:
      ValueError: the estimator is one of an independent worker, or its strategy has no single
        client.
    """
    strategy = estimator._config._train_distribute
    _require_single_client(estimator, strategy, "train")

    def train(strategy: Any) -> Any:
        own = _estimator_of_this_task(estimator, "train", strategy)
        return train_distributed_fn(own, strategy, _hooks_of_this_task(estimator._config, hooks))

    return _run(estimator._config, train)


def estimator_evaluate(
    estimator: Any, evaluate_distributed_fn: Callable[[Any, Any, Any], Any], hooks: Sequence[Any]
) -> Any:
    """Evaluates on a remote cluster, for `Estimator.evaluate`.

    Args:
      estimator: the Estimator.
      evaluate_distributed_fn: evaluates an estimator with a strategy and with hooks.
      hooks: the hooks, or None.

    Returns:
      What the function returns, the metrics.

    Raises:
      ValueError: the estimator is one of an independent worker, or its strategy has no single
        client.
    """
    strategy = estimator._config._eval_distribute
    _require_single_client(estimator, strategy, "evaluate")

    def evaluate(strategy: Any) -> Any:
        own = _estimator_of_this_task(estimator, "eval", strategy)
        return evaluate_distributed_fn(own, strategy, _hooks_of_this_task(estimator._config, hooks))

    return _run(estimator._config, evaluate, strategy=strategy)


def _require_single_client(estimator: Any, strategy: Any, method: str) -> None:
    if estimator._config._distribute_coordinator_mode != _STANDALONE_CLIENT:
        raise ValueError(
            f"Estimator.{method} can't be called by a task of the cluster in TF_CONFIG under "
            f"{type(strategy).__name__}: call tf.estimator.train_and_evaluate in all of them"
        )
    if strategy.extended.experimental_between_graph:
        raise ValueError(
            f"Estimator.{method} can't be called for a remote cluster under "
            f"{type(strategy).__name__}, whose workers have a graph each: "
            "call tf.estimator.train_and_evaluate"
        )
    if _EVALUATOR in estimator._config._cluster_spec.jobs:
        raise ValueError(
            f"Estimator.{method} can't be called for a cluster with an evaluator: "
            "call tf.estimator.train_and_evaluate"
        )


def _run(
    config: Any,
    worker_fn: Callable[[Any], Any],
    eval_fn: Callable[[Any], Any] | None = None,
    strategy: Any = None,
) -> Any:
    """Has the coordinator call the function of this task, of each task if this is the client."""
    is_client = config._distribute_coordinator_mode == _STANDALONE_CLIENT
    return coordinator.run_distribute_coordinator(
        worker_fn,
        config._train_distribute if strategy is None else strategy,
        eval_fn=eval_fn,
        eval_strategy=config._eval_distribute,
        mode=config._distribute_coordinator_mode,
        # An independent worker's cluster and task are in TF_CONFIG, which the coordinator reads.
        cluster_spec=config._cluster_spec if is_client else None,
        session_config=config._session_config,
    )


def _hooks_of_this_task(config: Any, hooks: Sequence[Any] | None) -> list[Any]:
    """Returns the hooks; copies for each of the tasks that a client runs in its threads."""
    hooks = list(hooks or ())
    is_client = config._distribute_coordinator_mode == _STANDALONE_CLIENT
    return copy.deepcopy(hooks) if is_client else hooks


def _estimator_of_this_task(estimator: Any, purpose: str, strategy: Any) -> Any:
    """Returns a copy of an Estimator for the task that the coordinator runs in this thread.

    Args:
      estimator: the Estimator.
      purpose: "train" or "eval", what the strategy is for.
      strategy: the strategy as the coordinator has configured it, or None.
    """
    own = copy.copy(estimator)
    own._config = copy.copy(estimator._config)
    own._config._distribute_coordinator_mode = None  # it runs already
    setattr(own._config, f"_{purpose}_distribute", strategy)
    setattr(own, f"_{purpose}_distribution", strategy)
    task = get_current_worker_context()
    own._config._master = own._config._evaluation_master = task.master_target
    own._config._is_chief = task.is_chief
    if task.task_type is not None:  # else one graph for all tasks
        own._config._task_type = task.task_type
        own._config._task_id = task.task_id
    is_in_cluster = task.cluster_spec and task.task_type != _EVALUATOR
    _set_cluster(own._config, tf.train.ClusterSpec(task.cluster_spec if is_in_cluster else {}))
    return own


def _set_cluster(config: Any, cluster: Any) -> None:
    """Sets the tasks that there are, how many of each kind, and which of them all this one is."""
    sizes = {job: cluster.num_tasks(job) for job in cluster.jobs}
    config._cluster_spec = cluster
    config._num_ps_replicas = sizes.get(_PS, 0)
    config._num_worker_replicas = sizes.get(_CHIEF, 0) + sizes.get(_WORKER, 0)
    order = [(job, number) for job in (_CHIEF, _WORKER, _PS) for number in range(sizes.get(job, 0))]
    task = (config._task_type, config._task_id)
    config._global_id_in_cluster = order.index(task) if task in order else None
