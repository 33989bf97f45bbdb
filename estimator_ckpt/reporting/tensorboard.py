"""A tab of TensorBoard: the checkpoints below its --logdir, looked at while a job trains.

    pip install "estimator-ckpt[tensorboard]"
    tensorboard --logdir=model_dir              # it finds this plug-in by its entry point

The front end is that of a report, served as the modules that it is made of. Only indexes are read
until values are asked for. A request names a directory that was found below --logdir and a
checkpoint that was found in it; nothing else can be asked, and nothing is written.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from estimator_ckpt.checkpoint.opening import STATE_FILE, shard_of
from estimator_ckpt.errors import CheckpointError
from estimator_ckpt.messages import escaped
from estimator_ckpt.operations.diff import diff
from estimator_ckpt.reporting.checkpoint_data import Data, checkpoint_data
from estimator_ckpt.reporting.comparison_data import difference_data
from estimator_ckpt.reporting.model_dir_data import model_dir_data
from estimator_ckpt.reporting.page import FRONT, safe_json
from estimator_ckpt.storage import files

_TYPES = {".js": "text/javascript", ".css": "text/css"}
_MOST_DIRECTORIES = 20_000  # that are looked into below --logdir
_SECONDS = 3.0  # that what was found below --logdir is taken for true, at least
_TIMES = 20.0  # as long as looking takes, it is taken for true
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
}
_INDEX = ".index"


class CheckpointsPlugin(base_plugin.TBPlugin):
    """What TensorBoard makes of this module."""

    plugin_name = "checkpoints"

    def __init__(self, context: base_plugin.TBContext):
        """Takes TensorBoard's context, for its --logdir."""
        self._found = _Found(files.without_scheme(context.logdir or ""))

    def get_plugin_apps(self) -> Mapping[str, Callable[..., Any]]:
        """Returns {route: what answers it}."""
        static = {f"/{path.name}": _file(path.name) for path in FRONT.iterdir() if path.suffix}
        return {
            **static,
            "/directories": _answers(self._directories),
            "/state": _answers(self._state),
            "/data": _answers(self._data),
        }

    def is_active(self) -> bool:
        """Returns whether there is a checkpoint below --logdir."""
        return bool(self._found.directories())

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Returns where the front end begins; it looks for news by itself."""
        return base_plugin.FrontendMetadata(
            es_module_path="/index.js", tab_name="Checkpoints", disable_reload=True
        )

    def _directories(self, arguments: Mapping[str, str]) -> Data:
        return {"directories": sorted(self._found.directories())}

    def _state(self, arguments: Mapping[str, str]) -> Data:
        """What changes when a checkpoint is written or removed, and is quickly read."""
        directory = self._directory(arguments, "directory")
        paths = [os.path.join(directory, name) for name in files.names(directory)]
        wanted = [path for path in paths if path.endswith((_INDEX, f"{os.sep}{STATE_FILE}"))]
        return {"state": [[os.path.basename(path), *_status(path)] for path in wanted]}

    def _data(self, arguments: Mapping[str, str]) -> Data:
        directory = self._directory(arguments, "directory")
        read = arguments.get("values", "")
        data: Data = {"model_dir": model_dir_data(directory, values=read == "all")}
        name = arguments.get("checkpoint", data["model_dir"]["latest"])
        complete = {row["name"] for row in data["model_dir"]["checkpoints"] if row["complete"]}
        if name not in complete:
            data["trouble"] = (
                f"there is no complete checkpoint '{name}' in '{arguments['directory']}'"
                if name is not None
                else f"no state file names the latest checkpoint of '{arguments['directory']}'"
            )
            if not complete:
                return data
            name = data["model_dir"]["checkpoints"][-1]["name"]
            if name not in complete:
                name = max(complete)
        prefix = os.path.join(directory, name)
        wanted = (lambda each: each == read[1:]) if read.startswith("=") else read == "all"
        data["checkpoint"] = checkpoint_data(prefix, values=wanted)
        if "other" in arguments:
            other = self._other(arguments)
            data["other"] = checkpoint_data(other)
            data["difference"] = difference_data(diff(prefix, other, values=read == "all"))
        return data

    def _other(self, arguments: Mapping[str, str]) -> str:
        directory = self._directory(arguments, "other_directory")
        name = arguments["other"]
        if f"{name}{_INDEX}" not in files.names(directory):
            raise _Unknown(f"there is no checkpoint '{name}' in that directory")
        return os.path.join(directory, name)

    def _directory(self, arguments: Mapping[str, str], key: str) -> str:
        name = arguments.get(key, "")
        directory = self._found.directories().get(name)
        if directory is None:
            directory = self._found.directories(anew=True).get(name)
        if directory is None:
            raise _Unknown(f"no checkpoints were found in '{name}' below --logdir")
        return directory


class _Unknown(Exception):
    """What was asked for was not found below --logdir."""


class _Found:
    """The directories below --logdir that have checkpoints, looked for now and then."""

    def __init__(self, logdir: str):
        self._logdir = logdir
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._until = 0.0

    def directories(self, *, anew: bool = False) -> dict[str, str]:
        """Returns {path below --logdir, "." for itself: path}."""
        with self._lock:
            began = time.monotonic()
            if self._logdir and (began >= self._until or anew):
                self._known = dict(_directories(self._logdir))
                end = time.monotonic()
                self._until = end + max(_SECONDS, _TIMES * (end - began))
            return self._known


def _directories(logdir: str) -> Iterator[tuple[str, str]]:
    walk = _walk_remote(logdir) if files.is_remote(logdir) else _walk(logdir)
    for _, (directory, names) in zip(range(_MOST_DIRECTORIES), walk):
        ours = [
            name
            for name in names
            if name.endswith(_INDEX) or name == STATE_FILE or shard_of(name) is not None
        ]
        if any(name.endswith(_INDEX) for name in ours) and _is_inside(logdir, directory, ours):
            yield (
                os.path.relpath(directory, logdir)
                if not files.is_remote(logdir)
                else (directory[len(logdir.rstrip("/")) + 1 :] or "."),
                directory,
            )


def _walk(logdir: str) -> Iterator[tuple[str, list[str]]]:
    for directory, below, names in os.walk(logdir):  # which follows no links
        below.sort()
        yield directory, names


def _walk_remote(logdir: str) -> Iterator[tuple[str, list[str]]]:
    waiting = [logdir.rstrip("/")]
    while waiting:
        directory = waiting.pop()
        names = files.names(directory)
        yield directory, names
        waiting += [
            path
            for path in (f"{directory}/{name.rstrip('/')}" for name in names if "." not in name)
            if files.is_directory(path)
        ]


def _is_inside(logdir: str, directory: str, names: Iterable[str]) -> bool:
    """Returns whether no link among the files leads out of --logdir."""
    if files.is_remote(logdir):
        return True
    root = os.path.join(os.path.realpath(logdir), "")
    return all(os.path.realpath(os.path.join(directory, name)).startswith(root) for name in names)


def _status(path: str) -> tuple[float, int]:
    try:
        return files.modified(path), files.size(path)
    except OSError:  # removed since
        return 0.0, 0


def _answers(answer: Callable[[Mapping[str, str]], Data]) -> Callable[..., Any]:
    """Makes a WSGI application of what answers with data."""

    def application(request: wrappers.Request) -> wrappers.Response:
        if request.method != "GET":
            return _response({"error": "only GET is answered"}, 405)
        try:
            return _response(answer(request.args.to_dict()))
        except _Unknown as error:
            return _response({"error": str(error)}, 404)
        except Exception as error:
            if not (isinstance(error, CheckpointError) or files.is_refusal(error)):
                raise
            return _response({"error": escaped(error)}, 409)

    wrapped: Callable[..., Any] = wrappers.Request.application(application)
    return wrapped


def _file(name: str) -> Callable[..., Any]:
    """Makes a WSGI application of a file of the front end."""
    content = (FRONT / name).read_bytes()
    kind = _TYPES[os.path.splitext(name)[1]]

    def application(request: wrappers.Request) -> wrappers.Response:
        if request.method != "GET":
            return _response({"error": "only GET is answered"}, 405)
        return wrappers.Response(content, 200, _HEADERS, content_type=f"{kind}; charset=utf-8")

    wrapped: Callable[..., Any] = wrappers.Request.application(application)
    return wrapped


def _response(data: Data, status: int = 200) -> wrappers.Response:
    return wrappers.Response(
        safe_json(data), status, _HEADERS, content_type="application/json; charset=utf-8"
    )
