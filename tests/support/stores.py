"""Object stores for tests: servers of S3 and of Google's XML interface, over HTTP, on 127.0.0.1.

    with s3_server() as server, server.new_store() as store:  # or gcs_server(), azure_server()
        run(command, env={**os.environ, **store.environment})  # a process that uses store.url
        store.log  # a Request for each one that came
        store.objects()  # {key: bytes}, behind the server's back

    with store.counted() as traffic: ...  # traffic.requests, .uploaded, .downloaded, .by_method()
    store.at_write(3, process.kill)  # before the third write from now, which is not carried out
    store.at_write(3, process.kill, after=True)  # when it is carried out, but not answered
    store.at_write(3, lambda: 503)  # answers that
    store.latency = 0.02  # seconds that each request waits

In a test: the fixtures `s3_store`, `gcs_store`, `azure_store`, and `object_store` (each in turn).
S3 is moto's, or the server that `S3_SERVER` names, such as `http://KEY:SECRET@127.0.0.1:4568`,
which is reached through one of this process that counts and interferes: `store.lacks` says what it
does not do. Google's is below, as obstore asks for it, and in `google_json`, as TensorFlow does.
Azure's is Azurite, reached likewise, where `AZURITE` names the folder of that package.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import dataclasses
import datetime
import email.utils
import functools
import hashlib
import hmac
import http.client
import itertools
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import xml.sax.saxutils
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

import google_json
import werkzeug
import werkzeug.serving

from estimator_ckpt.examples.local_cluster import free_ports

_ACCOUNT = "123456789012"  # moto's, of whoever has no other
# Those of every Azurite.
_AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_IDLE = 60  # seconds after which a connection without a request is closed
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked of a store; bytes are those of the bodies."""

    method: str
    key: str
    query: str
    range: str
    copy_source: str
    received: int
    sent: int
    status: int
    agent: str

    @property
    def is_write(self) -> bool:
        return self.method in ("PUT", "POST", "DELETE")


@dataclasses.dataclass
class Traffic:
    """What a store was asked while it was counted."""

    log: list[Request]

    @property
    def requests(self) -> int:
        return len(self.log)

    @property
    def uploaded(self) -> int:
        """Bytes that clients have sent, be they kept or not."""
        return sum(each.received for each in self.log if each.is_write)

    @property
    def downloaded(self) -> int:
        """Bytes of objects that clients got."""
        return sum(each.sent for each in self.log if _kind(each) == "GET" and each.status < 300)

    @property
    def copied(self) -> list[str]:
        """The keys that the server made of others itself."""
        return [each.key for each in self.log if each.copy_source]

    def by_method(self) -> dict[str, int]:
        """How many requests of each method; LIST are those for names."""
        return dict(collections.Counter(_kind(each) for each in self.log))

    def __str__(self) -> str:
        return "\n".join(
            f"{_kind(each):6} {each.status} {each.key}"
            f"{'?' + each.query if each.query else ''} {each.range}"
            f" in {each.received} out {each.sent}"
            f"{' from ' + each.copy_source if each.copy_source else ''}"
            for each in self.log
        )


def _kind(request: Request) -> str:
    if request.method == "GET" and not request.key:
        return "LIST"
    return "COPY" if request.copy_source else request.method


class Store:
    """A bucket of a server, with a log of its own."""

    def __init__(self, server: Server, bucket: str):
        self.bucket = bucket
        self.url = f"{server.scheme}://{bucket}"
        self.environment = server.environment
        self.lacks = server.lacks
        self.log: list[Request] = []
        self.latency = 0.0
        self.server = server
        self._lock = threading.Lock()
        self._hooks: list[tuple[int, Callable[[], object], bool]] = []
        self._writes = 0

    def objects(self) -> dict[str, bytes]:
        """What is there, read without a request."""
        return self.server.objects(self.bucket)

    def put(self, key: str, data: bytes) -> None:
        """Puts an object there without a request."""
        self.server.put(self.bucket, key, data)

    @contextlib.contextmanager
    def counted(self) -> Iterator[Traffic]:
        """Yields what comes in the block; complete after it."""
        traffic = Traffic([])
        start = len(self.log)
        try:
            yield traffic
        finally:
            traffic.log = self.log[start:]

    @property
    def writes(self) -> int:
        """How many requests have come that write or delete something."""
        return self._writes

    def at_write(self, number: int, action: Callable[[], object], *, after: bool = False) -> None:
        """Calls something at the n-th request from now on, from 1, that writes or deletes.

        Args:
          number: n.
          action: what is called, in a thread of the server. If it returns a number, that is the
            answer's HTTP status; otherwise the connection is closed without an answer.
          after: whether the request is carried out first.
        """
        with self._lock:
            self._hooks.append((self._writes + number, action, after))

    def serve(self, app: Any, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        """Lets the server answer a request, and logs it; called by the server."""
        key = _path(environ).partition("/")[2]
        method = environ["REQUEST_METHOD"]
        hooks = self._due(method)
        if self.latency:
            time.sleep(self.latency)
        body = environ["wsgi.input"] = _Counting(environ["wsgi.input"])
        refused = next((action for action, after in hooks if not after), None)
        if refused is None:
            status, headers, answer = _answer(app, environ)
            refused = next((action for action, _ in hooks), None)
        if refused is not None:
            status, headers, answer = _refusal(refused())
        request = Request(
            method=method,
            key=key,
            query=environ.get("QUERY_STRING", ""),
            range=environ.get("HTTP_RANGE", ""),
            copy_source=environ.get(
                "HTTP_X_AMZ_COPY_SOURCE",
                environ.get("HTTP_X_GOOG_COPY_SOURCE", environ.get("HTTP_X_MS_COPY_SOURCE", "")),
            ),
            received=body.count,
            sent=sum(map(len, answer)),
            status=int(status.split()[0]),
            agent=environ.get("HTTP_USER_AGENT", ""),
        )
        with self._lock:
            self.log.append(request)
        start_response(status, headers)
        yield from answer

    def _due(self, method: str) -> list[tuple[Callable[[], object], bool]]:
        if method not in ("PUT", "POST", "DELETE"):
            return []
        with self._lock:
            self._writes += 1
            return [(action, after) for at, action, after in self._hooks if at == self._writes]


class _Counting:
    """The body of a request, which counts what is read of it."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.count = 0

    def read(self, *args: int) -> bytes:
        data: bytes = self._stream.read(*args)
        self.count += len(data)
        return data

    def readline(self, *args: int) -> bytes:
        data: bytes = self._stream.readline(*args)
        self.count += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


_Answer = tuple[str, list[tuple[str, str]], list[bytes]]


def _answer(app: Any, environ: dict[str, Any]) -> _Answer:
    head: list[Any] = []
    response = app(environ, lambda *args: head.extend(args))
    try:
        body = list(response)
    finally:
        getattr(response, "close", lambda: None)()
    return head[0], head[1], body


def _refusal(status: object) -> _Answer:
    if isinstance(status, int) and not isinstance(status, bool):
        return f"{status} refused by the test", [("Content-Length", "0")], []
    raise ConnectionAbortedError("the test wants no answer")


def _path(environ: dict[str, Any]) -> str:
    """BUCKET/KEY, as the client has written it, unquoted."""
    raw = environ.get("RAW_URI") or environ["PATH_INFO"]
    path = urllib.parse.unquote(re.sub(r"^https?://[^/]*", "", raw).partition("?")[0])
    return path.lstrip("/").removeprefix(f"{_AZURE_ACCOUNT}/")


class _Handler(google_json.Tunnel, werkzeug.serving.WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are used again
    timeout = _IDLE

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(6, 1, 1)  # TCP_NODELAY: head and body are sent apart

    def log_request(self, *args: Any) -> None:
        pass

    def log(self, *args: Any) -> None:
        pass


class UnusableKeyError(Exception):
    """A server does not take a key that S3 takes."""


class Server:
    """A server in a thread of this process, and its stores."""

    scheme = ""
    lacks: frozenset[str] = frozenset()
    """What the server does not do: of "conditions", "aborts", "empty ranges"."""

    def __init__(self, app: Any):
        self._app = app
        self._stores: dict[str, Store] = {}
        self._http = werkzeug.serving.make_server(
            "127.0.0.1", 0, self._serve, threaded=True, request_handler=_Handler
        )
        self.port: int = self._http.server_port
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Takes no more requests; connections that are open end with their clients, or idle."""
        self._http.shutdown()
        self._thread.join(timeout=10)
        self._http.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process that uses this server has in its environment; credentials are fake."""
        raise NotImplementedError

    @contextlib.contextmanager
    def new_store(self) -> Iterator[Store]:
        """Makes an empty bucket; what is in it goes at the end."""
        store = Store(self, f"bucket-{os.getpid()}-{next(_numbers)}")
        self.make(store.bucket)
        self._stores[store.bucket] = store
        try:
            yield store
        finally:
            del self._stores[store.bucket]
            self.drop(store.bucket)

    def objects(self, bucket: str) -> dict[str, bytes]:
        raise NotImplementedError

    def put(self, bucket: str, key: str, data: bytes) -> None:
        raise NotImplementedError

    def make(self, bucket: str) -> None:
        raise NotImplementedError

    def drop(self, bucket: str) -> None:
        raise NotImplementedError

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Any:
        store = self._stores.get(_path(environ).partition("/")[0])
        if store is None:
            return self._app(environ, start_response)
        return store.serve(self._app, environ, start_response)


class _S3(Server):
    scheme = "s3"

    def __init__(self) -> None:
        import moto.server
        from moto.s3 import models

        self._backend = models.s3_backends[_ACCOUNT]["aws"]
        super().__init__(moto.server.create_backend_app("s3"))

    @property
    def environment(self) -> dict[str, str]:
        return _told_of_s3(self.port)

    def objects(self, bucket: str) -> dict[str, bytes]:
        return {key: each.value for key, each in [*self._backend.buckets[bucket].keys.items()]}

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._backend.put_object(bucket, key, data)

    def make(self, bucket: str) -> None:
        self._backend.create_bucket(bucket, "us-east-1")

    def drop(self, bucket: str) -> None:
        self._backend.buckets.pop(bucket)


class _OtherS3(Server):
    """A server of S3 that runs already; requests go there through this process."""

    scheme = "s3"

    def __init__(self, address: str):
        import boto3

        parts = urllib.parse.urlsplit(address)
        self._key, self._secret = parts.username or "", parts.password or ""
        self._client = boto3.client(
            "s3",
            endpoint_url=f"{parts.scheme}://{parts.hostname}:{parts.port}",
            aws_access_key_id=self._key,
            aws_secret_access_key=self._secret,
            region_name="us-east-1",
        )
        super().__init__(_Forwarding(parts.hostname or "", parts.port or 80))
        self.lacks = frozenset(self._lacks())

    def _lacks(self) -> Iterator[str]:
        from botocore.exceptions import BotoCoreError, ClientError

        client, bucket = self._client, f"tried-{os.getpid()}"
        self.make(bucket)
        self.put(bucket, "a", b"")
        at = {"Bucket": bucket, "Key": "a"}
        upload = client.create_multipart_upload(**at)["UploadId"]
        for name, ask, is_refused in (
            ("conditions", lambda: client.put_object(**at, Body=b"b", IfNoneMatch="*"), True),
            ("aborts", lambda: client.abort_multipart_upload(**at, UploadId=upload), False),
            (
                "empty ranges",
                lambda: client.get_object(**at, Range="bytes=0-9")["Body"].read(),
                True,
            ),
        ):
            try:
                ask()
            except ClientError:
                if not is_refused:
                    yield name
            except BotoCoreError:
                yield name  # it breaks off
            else:
                if is_refused:
                    yield name
        self.drop(bucket)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **_told_of_s3(self.port),
            "AWS_ACCESS_KEY_ID": self._key,
            "AWS_SECRET_ACCESS_KEY": self._secret,
        }

    def objects(self, bucket: str) -> dict[str, bytes]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return {key: self._client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def put(self, bucket: str, key: str, data: bytes) -> None:
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=data)
        except ClientError as error:
            raise UnusableKeyError(f"this server keeps no object '{key}': {error}") from error

    def make(self, bucket: str) -> None:
        self._client.create_bucket(Bucket=bucket)

    def drop(self, bucket: str) -> None:
        for key in self.objects(bucket):
            self._client.delete_object(Bucket=bucket, Key=key)
        self._client.delete_bucket(Bucket=bucket)


class _Forwarding:
    """Asks another server what this one is asked, as it is asked, by a connection a thread."""

    def __init__(self, host: str, port: int):
        self._to = (host, port)
        self._local = threading.local()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = {
            name[5:].replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name != "HTTP_CONNECTION"
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-").title()] = environ[name]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        asked = (environ["REQUEST_METHOD"], environ["RAW_URI"], body, headers)
        response, answer = self._ask(*asked)
        start_response(
            f"{response.status} {response.reason}",
            [
                (name, value)
                for name, value in response.getheaders()
                if name.lower() not in ("connection", "keep-alive", "transfer-encoding", "date")
            ],
        )
        return [answer]

    def _ask(self, *asked: Any) -> tuple[http.client.HTTPResponse, bytes]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection(*self._to, timeout=600)
        try:
            connection.request(*asked)
            response = connection.getresponse()
            return response, response.read()
        except (http.client.HTTPException, OSError):
            connection.close()  # the server has, between two requests
            connection.request(*asked)
            response = connection.getresponse()
            return response, response.read()


def _told_of_s3(port: int) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "fake",
        "AWS_SECRET_ACCESS_KEY": "fake",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        # TensorFlow's plug-in has a name of its own, and takes no scheme for HTTPS.
        "S3_ENDPOINT": f"http://127.0.0.1:{port}",
        # After 1 and 3 seconds it would ask anew, which a busy machine makes a second request.
        "S3_CONNECT_TIMEOUT_MSEC": "300000",
        "S3_REQUEST_TIMEOUT_MSEC": "300000",
    }


class _Azure(Server):
    """Azurite, in a process of its own; requests go there through this process."""

    scheme = "az"

    def __init__(self, package: str):
        self._address = ("127.0.0.1", *free_ports(1))
        self._process = subprocess.Popen(
            [
                *("node", os.path.join(package, "dist", "src", "blob", "main.js"), "--silent"),
                *("--blobHost", self._address[0], "--blobPort", str(self._address[1])),
                *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            self._await_start()
        except BaseException:
            self._end()
            raise
        super().__init__(_Forwarding(*self._address))

    def _await_start(self) -> None:
        deadline = time.monotonic() + 180
        while True:
            try:
                socket.create_connection(self._address, timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=600)

    def close(self) -> None:
        super().close()
        self._end()

    @property
    def environment(self) -> dict[str, str]:
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": _AZURE_ACCOUNT,
            "AccountKey": _AZURE_KEY,
            "BlobEndpoint": f"http://127.0.0.1:{self.port}/{_AZURE_ACCOUNT}",
        }
        told = ";".join(f"{name}={value}" for name, value in parts.items())
        return {"AZURE_STORAGE_CONNECTION_STRING": told}

    def objects(self, bucket: str) -> dict[str, bytes]:
        found = self._ask("GET", bucket, {"comp": "list", "restype": "container"})
        keys = [each.text or "" for each in ElementTree.fromstring(found).iter("Name")]
        return {key: self._ask("GET", f"{bucket}/{urllib.parse.quote(key)}") for key in keys}

    def put(self, bucket: str, key: str, data: bytes) -> None:
        path = f"{bucket}/{urllib.parse.quote(key)}"
        self._ask("PUT", path, {}, data, {"x-ms-blob-type": "BlockBlob"})

    def make(self, bucket: str) -> None:
        self._ask("PUT", bucket, {"restype": "container"})

    def drop(self, bucket: str) -> None:
        self._ask("DELETE", bucket, {"restype": "container"})

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Makes a request of Azurite itself, signed as "Authorize with Shared Key" has it."""
        date = email.utils.formatdate(usegmt=True)
        headers = {**(headers or {}), "x-ms-date": date, "x-ms-version": "2021-08-06"}
        path, query = f"/{_AZURE_ACCOUNT}/{path}", query or {}
        signed = [
            *(method, "", "", str(len(body) or ""), *[""] * 8),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            f"/{_AZURE_ACCOUNT}{path}",
            *(f"{name}:{query[name]}" for name in sorted(query)),
        ]
        key = base64.b64decode(_AZURE_KEY)
        digest = hmac.new(key, "\n".join(signed).encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {_AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
        connection = http.client.HTTPConnection(*self._address, timeout=600)
        with contextlib.closing(connection):
            connection.request(method, f"{path}?{urllib.parse.urlencode(query)}", body, headers)
            answer = connection.getresponse()
            data = answer.read()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {data!r}")
        return data


class _Gcs(Server):
    scheme = "gs"

    def __init__(self) -> None:
        self._interface = _XmlInterface()
        self._folder = tempfile.TemporaryDirectory()
        certificates = pathlib.Path(self._folder.name)
        super().__init__(google_json.JsonInterface(self._interface))
        self._http.tls = google_json.make_certificates(certificates)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        account = {
            "gcs_base_url": f"http://127.0.0.1:{self.port}",
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        return {
            "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account),
            **google_json.environment(self.port, pathlib.Path(self._folder.name)),
        }

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Any:
        google_json.translate(environ)
        return super()._serve(environ, start_response)

    def objects(self, bucket: str) -> dict[str, bytes]:
        return {key: each.data for key, each in [*self._interface.buckets[bucket].items()]}

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._interface.put(bucket, key, data)

    def make(self, bucket: str) -> None:
        self._interface.buckets[bucket] = {}

    def drop(self, bucket: str) -> None:
        self._interface.buckets.pop(bucket)


@dataclasses.dataclass(frozen=True)
class _Object:
    data: bytes
    generation: int
    modified: datetime.datetime

    @functools.cached_property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"'

    def headers(self) -> dict[str, str]:
        return {
            "ETag": self.etag,
            "x-goog-generation": str(self.generation),
            "Last-Modified": self.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }


class _XmlInterface:
    """Google Cloud Storage's XML interface: objects, ranges, lists, copies, parts, conditions."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, _Object]] = {}
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._generations = itertools.count(1)
        self._lock = threading.RLock()

    def put(self, bucket: str, key: str, data: bytes) -> _Object:
        now = datetime.datetime.now(datetime.timezone.utc)
        with self._lock:
            new = _Object(data, next(self._generations), now)
            self.buckets[bucket][key] = new
        return new

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = werkzeug.Request(environ)
        bucket, _, key = _path(environ).partition("/")
        body = request.get_data()
        if bucket not in self.buckets:
            response = _failure(404, "NoSuchBucket")
        elif not key:
            response = self._list(bucket, request.args)
        else:
            method = getattr(self, f"_{request.method.lower()}", None)
            if method is None:
                response = _failure(405, "MethodNotAllowed")
            else:
                with self._lock:
                    response = method(request, body, bucket, key)
        return response(environ, start_response)

    def listed(
        self, bucket: str, prefix: str, delimiter: str, after: str, most: int
    ) -> tuple[dict[str, str], str]:
        """Returns {key, or what several begin with: the latter, or ""}, and where it goes on."""
        found: dict[str, str] = {}
        last = ""
        for key in sorted(self.buckets[bucket]):
            if not key.startswith(prefix) or key <= after:
                continue
            rest, separator, _ = key[len(prefix) :].partition(delimiter or "\0")
            common = prefix + rest + separator if separator else ""
            if (common or key) not in found and len(found) == most:
                return found, last
            found[common or key] = common
            last = key
        return found, ""

    def _list(self, bucket: str, args: Any) -> werkzeug.Response:
        objects = self.buckets[bucket]
        found, token = self.listed(
            bucket,
            args.get("prefix", ""),
            args.get("delimiter", ""),
            max(args.get("continuation-token", ""), args.get("start-after", "")),
            int(args.get("max-keys", 1000)),
        )
        parts = [
            f"<CommonPrefixes><Prefix>{_quoted(key)}</Prefix></CommonPrefixes>"
            if common
            else f"<Contents><Key>{_quoted(key)}</Key><Size>{len(objects[key].data)}</Size>"
            f"<LastModified>{objects[key].modified.isoformat()[:23]}Z</LastModified>"
            f"<ETag>{_quoted(objects[key].etag)}</ETag></Contents>"
            for key, common in found.items()
        ]
        if token:
            parts.append(f"<NextContinuationToken>{_quoted(token)}</NextContinuationToken>")
        truncated = f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>"
        return _xml("ListBucketResult", truncated + "".join(parts))

    def _head(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        return self._get(request, body, bucket, key)

    def _get(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        found = self.buckets[bucket].get(key)
        if found is None:
            return _failure(404, "NoSuchKey")
        if request.if_match and found.etag.strip('"') not in request.if_match:
            return _failure(412, "PreconditionFailed")
        size = len(found.data)
        if request.range is None:
            return werkzeug.Response(found.data, headers=found.headers())
        bounds = request.range.range_for_length(size)
        if bounds is None:
            return _failure(416, "InvalidRange")
        headers = {**found.headers(), "Content-Range": f"bytes {bounds[0]}-{bounds[1] - 1}/{size}"}
        return werkzeug.Response(found.data[bounds[0] : bounds[1]], 206, headers)

    def _put(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        if "uploadId" in request.args:
            self._uploads[request.args["uploadId"]][int(request.args["partNumber"])] = body
            return werkzeug.Response(headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        if not self._may_write(request, bucket, key):
            return _failure(412, "PreconditionFailed")
        origin = request.headers.get("x-goog-copy-source", "")
        if not origin:
            return werkzeug.Response(headers=self.put(bucket, key, body).headers())
        theirs, _, name = urllib.parse.unquote(origin).lstrip("/").partition("/")
        found = self.buckets.get(theirs, {}).get(name)
        if found is None:
            return _failure(404, "NoSuchKey")
        copied = self.put(bucket, key, found.data)
        return _xml("CopyObjectResult", f"<ETag>{_quoted(copied.etag)}</ETag>", copied.headers())

    def _post(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        if "uploads" in request.args:
            upload = f"upload-{next(self._generations)}"
            self._uploads[upload] = {}
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if not self._may_write(request, bucket, key):
            return _failure(412, "PreconditionFailed")
        parts = self._uploads.pop(request.args["uploadId"], None)
        if parts is None:
            return _failure(404, "NoSuchUpload")
        numbers = [
            int(each.text or "")
            for each in ElementTree.fromstring(body).findall(".//{*}PartNumber")
        ]
        made = self.put(bucket, key, b"".join(parts[number] for number in numbers))
        inner = f"<ETag>{_quoted(made.etag)}</ETag>"
        return _xml("CompleteMultipartUploadResult", inner, made.headers())

    def _delete(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        if "uploadId" in request.args:
            self._uploads.pop(request.args["uploadId"], None)
        elif self.buckets[bucket].pop(key, None) is None:
            return _failure(404, "NoSuchKey")
        return werkzeug.Response(status=204)

    def _may_write(self, request: werkzeug.Request, bucket: str, key: str) -> bool:
        wanted = request.headers.get("x-goog-if-generation-match")
        found = self.buckets[bucket].get(key)
        return wanted is None or int(wanted) == (found.generation if found else 0)


def _quoted(text: str) -> str:
    return xml.sax.saxutils.escape(text)


def _xml(name: str, inner: str, headers: dict[str, str] | None = None) -> werkzeug.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}</{name}>'
    return werkzeug.Response(text, headers=headers, content_type="application/xml")


def _failure(status: int, code: str) -> werkzeug.Response:
    response = _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>")
    response.status_code = status
    return response


@contextlib.contextmanager
def s3_server() -> Iterator[Server]:
    """A server of S3, moto's or that of `S3_SERVER`; its stores end with it."""
    server: Server = _OtherS3(os.environ["S3_SERVER"]) if os.environ.get("S3_SERVER") else _S3()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def gcs_server() -> Iterator[Server]:
    """A server of Google Cloud Storage's XML interface; its stores end with it."""
    server = _Gcs()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def azure_server() -> Iterator[Server]:
    """A server of Azure's blobs, which is Azurite; its stores end with it."""
    server = _Azure(os.environ["AZURITE"])
    try:
        yield server
    finally:
        server.close()
