"""Signatures: a model_fn gets what it asks for, whatever kind of callable it is."""

import functools
import itertools

import tensorflow as tf
from scenarios import conformance_test, scenario

tf1 = tf.compat.v1
PARAMS = {"rate": 0.5}
OPTIONAL = ("labels", "mode", "params", "config")


class _Called(Exception):
    """Ends a job as soon as its model_fn has been called."""


def _model(labels, mode, rate=0.5):
    """One variable that goes towards the mean of the labels."""
    v = tf1.get_variable("v", [], initializer=tf1.zeros_initializer())
    loss = tf.square(tf.reduce_mean(labels) - v)
    train_op = tf1.train.GradientDescentOptimizer(rate).minimize(
        loss, global_step=tf1.train.get_global_step()
    )
    return tf.estimator.EstimatorSpec(
        mode, predictions={"v": tf.reshape(v, [1])}, loss=loss, train_op=train_op
    )


def _function_of(arguments, body):
    """A function with these arguments, in this order, that calls `body` with a dict of them."""
    pairs = ", ".join(f"{name}={name}" for name in arguments)
    scope = {"body": body}
    exec(f"def model_fn({', '.join(arguments)}): return body(dict({pairs}))", scope)
    return scope["model_fn"]


def _features_and_labels():
    return {"x": tf.zeros([8, 4])}, tf.ones([8])


def _features():
    return {"x": tf.zeros([8, 4])}


def _estimator(job, model_fn, takes_params):
    return job.estimator(model_fn, params=PARAMS if takes_params else None)


def _seen(given):
    """What can be said of the arguments that a model_fn was called with."""
    seen = {}
    for name, value in given.items():
        if name in ("features", "labels"):
            seen[name] = str(tf.nest.map_structure(lambda tensor: str(tensor.shape), value))
        elif name == "config":
            seen[name] = value.tf_random_seed
        else:
            seen[name] = str(value)
    return seen


def _trained(job, model_fn, *, params=False, labels=True):
    """Trains two steps; returns the values, or the name of the error."""
    inputs = _features_and_labels if labels else _features
    folder = job.folder / f"job-{len(list(job.folder.iterdir()))}"
    try:
        estimator = job.estimator(model_fn, folder, params=PARAMS if params else None)
        estimator.train(inputs, steps=2)
    except (TypeError, ValueError) as error:
        return type(error).__name__
    return job.values(folder)


@scenario("Signatures")
def every_order_and_subset(job):
    """Every order and subset of features, labels, mode, params and config."""
    orders = [
        order
        for count in range(len(OPTIONAL) + 1)
        for chosen in itertools.combinations(OPTIONAL, count)
        for order in itertools.permutations(("features", *chosen))
    ]
    calls = []

    def body(given):
        calls.append(_seen(given))
        raise _Called

    for order in orders:
        estimator = _estimator(job, _function_of(order, body), "params" in order)
        try:
            estimator.train(_features_and_labels if "labels" in order else _features, steps=1)
        except _Called:
            pass
    assert [sorted(call) for call in calls] == [sorted(order) for order in orders]
    return calls


@scenario("Signatures")
def fewest_and_most_arguments(job):
    """The fewest and the most arguments, in training, evaluation and prediction."""

    def fewest(features, mode):
        del features
        return _model(tf.ones([8]), mode)

    def most(config, params, mode, labels, features):
        del features
        assert config.tf_random_seed == 1
        return _model(tf.ones([8]) if labels is None else labels, mode, params["rate"])

    def trains_only(features, labels):
        del features
        return _model(labels, tf.estimator.ModeKeys.TRAIN)

    found = [_trained(job, trains_only)]
    for model_fn, inputs in ((fewest, _features), (most, _features_and_labels)):
        estimator = job.estimator(
            model_fn, job.folder / model_fn.__name__, params=PARAMS if model_fn is most else None
        )
        estimator.train(inputs, steps=2)
        found.append(estimator.evaluate(inputs, steps=1))
        found.append(next(estimator.predict(_features)))
    return found


@scenario("Signatures")
def defaults(job):
    """Arguments with default values."""

    def labels_by_default(features, labels=None, mode="train", params=None, config=None):
        del features
        assert config.tf_random_seed == 1
        return _model(tf.ones([8]) if labels is None else labels, mode, params["rate"])

    return [
        _trained(job, labels_by_default, params=True),
        _trained(job, labels_by_default, params=True, labels=False),
    ]


@scenario("Signatures")
def partial_functions(job):
    """Partial functions: by position, by name, of a partial, of a method."""

    def by_position(rate, features, labels, mode):
        del features
        return _model(labels, mode, rate)

    def by_name(features, labels, mode, rate, twice=False):
        del features
        return _model(labels, mode, rate * (2 if twice else 1))

    def in_between(features, rate, labels, mode):
        del features
        return _model(labels, mode, rate)

    def with_params(features, labels, mode, params):
        del features
        return _model(labels, mode, params["rate"])

    nested = functools.partial(functools.partial(by_name, rate=0.25, twice=False), twice=True)
    return [
        _trained(job, functools.partial(by_position, 0.25)),
        _trained(job, functools.partial(by_name, rate=0.25, twice=True)),
        _trained(job, nested),
        _trained(job, functools.partial(in_between, rate=0.25)),
        _trained(job, functools.partial(with_params, params={"rate": 0.25})),
        _trained(job, functools.partial(_Methods().bound_with_rate, rate=0.25)),
        _trained(job, functools.partial(_Methods(), params={"rate": 0.25})),
    ]


class _Methods:
    rate = 0.25

    def __call__(self, features, labels, mode, params):
        del features
        return _model(labels, mode, params["rate"])

    def bound(self, features, labels, mode):
        del features
        return _model(labels, mode, self.rate)

    def bound_with_rate(self, features, labels, mode, rate):
        del features
        return _model(labels, mode, rate)

    @classmethod
    def of_class(cls, features, labels, mode):
        del features
        return _model(labels, mode, cls.rate)

    @staticmethod
    def static(features, labels, mode):
        del features
        return _model(labels, mode, 0.25)


@scenario("Signatures")
def objects_and_methods(job):
    """Callable objects, bound, class and static methods, lambdas."""
    methods = _Methods()
    return [
        _trained(job, methods, params=True),
        _trained(job, methods.bound),
        _trained(job, methods.of_class),
        _trained(job, _Methods.of_class),
        _trained(job, methods.static),
        _trained(job, _Methods.static),
        _trained(job, lambda features, labels, mode: _model(labels, mode)),
    ]


@scenario("Signatures")
def decorated(job):
    """Decorated functions whose decorator names the arguments, with functools.wraps and without."""

    def same_arguments(model_fn):
        @functools.wraps(model_fn)
        def inner(features, labels, mode):
            return model_fn(features, labels, mode)

        return inner

    def gives_the_rate(model_fn):
        @functools.wraps(model_fn)
        def inner(features, labels, mode, params):
            return model_fn(features, labels, mode, params["rate"])

        return inner

    def without_wraps(model_fn):
        def inner(mode, features, labels):
            return model_fn(features, labels, mode)

        return inner

    def passes_on_any_other(model_fn):
        def inner(features, labels, mode, **others):
            return model_fn(features, labels, mode, **others)

        return inner

    def plain(features, labels, mode):
        del features
        return _model(labels, mode)

    def with_rate(features, labels, mode, rate):
        del features
        return _model(labels, mode, rate)

    return [
        _trained(job, passes_on_any_other(plain)),
        _trained(job, same_arguments(plain)),
        _trained(job, gives_the_rate(with_rate), params=True),
        _trained(job, without_wraps(plain)),
        _trained(job, same_arguments(gives_the_rate(with_rate))),
    ]


@scenario("Signatures")
def refused_as_by_tensorflow(job):
    """No features, labels or params that the model_fn does not take: refused as by TensorFlow."""

    def without_features(labels, mode):
        return _model(labels, mode)

    def without_labels(features, mode):
        del features
        return _model(tf.ones([8]), mode)

    def with_another(features, labels, mode, another):
        del features, another
        return _model(labels, mode)

    found = [
        _trained(job, without_features),
        _trained(job, without_labels),
        _trained(job, without_labels, params=True, labels=False),
        _trained(job, with_another),
    ]
    assert found == ["ValueError"] * 4
    return found


def _right():
    """What comes of two steps with a rate of 0.5: the first of them goes all the way."""
    return [{"v": 1.0, "global_step": 2}] * 3


@scenario(
    "Signatures",
    raw="refuses arguments that it does not find",
    right=_right,
    raw_fails=True,
)
def keyword_only(job):
    """Keyword-only arguments, `**kwargs`, and `functools.wraps` around `*args, **kwargs`."""

    def after_a_star(features, labels, *, mode):
        del features
        return _model(labels, mode)

    def any_keyword(features, labels, **given):
        del features
        return _model(labels, given["mode"])

    def decorator(model_fn):
        @functools.wraps(model_fn)
        def inner(*args, **kwargs):
            return model_fn(*args, **kwargs)

        return inner

    found = []
    for model_fn in (after_a_star, any_keyword, decorator(after_a_star)):
        job.estimator(model_fn, job.folder / str(len(found))).train(_features_and_labels, steps=2)
        found.append(job.values(job.folder / str(len(found))))
    return found


@scenario("Signatures")
def metrics_are_added(job):
    """`tf.estimator.add_metrics` and the estimator's own `model_fn`."""

    def plain(features, labels, mode):
        del features
        return _model(labels, mode)

    def more(labels, predictions):
        return {"sum": tf1.metrics.mean(tf.reduce_sum(labels) + predictions["v"])}

    estimator = tf.estimator.add_metrics(job.estimator(plain), more)
    estimator.train(_features_and_labels, steps=2)
    spec_of = job.estimator(plain).model_fn
    again = job.estimator(
        lambda features, labels, mode, config: spec_of(features, labels, mode, config)
    )
    again.train(_features_and_labels, steps=2)
    return {"metrics": estimator.evaluate(_features_and_labels, steps=1), "values": job.values()}


test_scenario = conformance_test(__name__)
