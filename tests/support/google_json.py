"""Google Cloud Storage as TensorFlow asks for it: the JSON interface, over HTTPS, on 127.0.0.1.

    app = JsonInterface(objects)  # beside the XML interface that it is given, on the same objects
    translate(environ)            # BUCKET/KEY as the path of what TensorFlow asks
    Tunnel                        # has a handler serve HTTPS, too, with `server.tls`, as a proxy
    environment(port, folder)     # what tells TensorFlow of it

TensorFlow's address of that store can't be changed; but libcurl takes a proxy from the environment,
and TensorFlow the certificates to trust. So the server is the proxy, and answers itself.
"""

from __future__ import annotations

import datetime
import itertools
import json
import pathlib
import re
import ssl
import urllib.parse
from typing import Any

import werkzeug

_HOST = "www.googleapis.com"
_PATH = re.compile(
    r"/(?P<upload>upload/)?storage/v1/b/(?P<bucket>[^/]+)"
    r"(?:/storageLayout|(?P<objects>/o)(?:/(?P<key>[^/]+))?)?"
    r"(?:/rewriteTo/b/(?P<to_bucket>[^/]+)/o/(?P<to_key>[^/]+))?"
)
_ACTION = "google_json.action"


def environment(port: int, folder: pathlib.Path) -> dict[str, str]:
    """What a process needs whose TensorFlow is to ask a server, with certificates of a folder."""
    return {
        "https_proxy": f"http://127.0.0.1:{port}",
        "CURL_CA_BUNDLE": str(folder / "authority.pem"),
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "fake",
        "NO_GCE_CHECK": "true",
    }


def make_certificates(folder: pathlib.Path) -> ssl.SSLContext:
    """Makes an authority and what it certifies to be Google, into a folder; for a day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        for name in ("an authority of tests", _HOST)
    )

    def certify(name: Any, public: Any, extension: Any) -> bytes:
        builder = x509.CertificateBuilder(issuer, name, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day)
        made = builder.add_extension(extension, critical=True).sign(authority, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    names = x509.SubjectAlternativeName([x509.DNSName("*.googleapis.com")])
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    root = certify(issuer, authority.public_key(), x509.BasicConstraints(True, None))
    (folder / "authority.pem").write_bytes(root)
    (folder / "server.pem").write_bytes(certify(subject, key.public_key(), names) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


class Tunnel:
    """Mixed into a handler: what a client asks of a host behind this proxy is asked of it."""

    def do_CONNECT(self: Any) -> None:
        self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        self.wfile.flush()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def finish(self: Any) -> None:
        super().finish()  # type: ignore[misc]
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.close()


def translate(environ: dict[str, Any]) -> None:
    """Makes of a request in JSON one whose path is BUCKET/KEY; leaves others alone."""
    if environ.get("HTTP_HOST") != _HOST:
        return
    path, _, query = environ["RAW_URI"].partition("?")
    asked = _PATH.fullmatch(path)
    assert asked, f"TensorFlow asks something new: {path}"
    key, method = asked["key"] or "", environ["REQUEST_METHOD"]
    if asked["to_key"]:
        environ["HTTP_X_GOOG_COPY_SOURCE"] = f"{asked['bucket']}/{key}"
        environ[_ACTION], bucket, key = "copy", asked["to_bucket"], asked["to_key"]
    else:
        bucket = asked["bucket"]
        if asked["upload"]:
            key = urllib.parse.quote(urllib.parse.parse_qs(query)["name"][0], safe="")
            environ[_ACTION] = "upload" if method == "PUT" else "begin_upload"
        elif method == "DELETE":
            environ[_ACTION] = "delete"
        elif key or not asked["objects"]:
            environ[_ACTION] = "describe"
            environ["REQUEST_METHOD"] = "HEAD"  # by which the log tells it from what has the bytes
        else:
            environ[_ACTION] = "list"
    environ["RAW_URI"] = f"/{bucket}/{key}?{query}"


class JsonInterface:
    """Describes, lists, uploads, copies and deletes objects, and leaves the rest to another app."""

    def __init__(self, other: Any):
        self._other = other
        self._uploads = map(str, itertools.count(1))
        self._done: set[str] = set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        action = environ.get(_ACTION)
        if action is None:
            return self._other(environ, start_response)
        if action == "describe":
            environ["REQUEST_METHOD"] = "GET"  # as the answer has a body
        request = werkzeug.Request(environ)
        path = urllib.parse.unquote(environ["RAW_URI"].partition("?")[0])
        bucket, _, key = path.lstrip("/").partition("/")
        body = request.get_data()
        if request.headers.get("Authorization") != "Bearer fake":
            return werkzeug.Response(status=401)(environ, start_response)
        if bucket not in self._other.buckets:
            return werkzeug.Response(status=404)(environ, start_response)
        return getattr(self, f"_{action}")(request, body, bucket, key)(environ, start_response)

    def _describe(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        if not key:
            return _json({"name": bucket, "hierarchicalNamespace": {"enabled": False}})
        found = self._other.buckets[bucket].get(key)
        if found is None:
            return werkzeug.Response(status=404)
        updated = f"{found.modified.isoformat(timespec='milliseconds')[:23]}Z"
        told = {"size": len(found.data), "generation": found.generation}
        return _json({**{name: str(number) for name, number in told.items()}, "updated": updated})

    def _list(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        asked = request.args
        found, token = self._other.listed(
            bucket,
            asked.get("prefix", ""),
            asked.get("delimiter", ""),
            asked.get("pageToken", ""),
            int(asked.get("maxResults", 1000)),
        )
        names = [{"name": name} for name, common in found.items() if not common]
        told = {"items": names, "prefixes": [name for name, common in found.items() if common]}
        told = {field: value for field, value in told.items() if value}
        return _json({**told, **({"nextPageToken": token} if token else {})})

    def _begin_upload(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        if request.args["uploadType"] == "media":
            self._other.put(bucket, key, body)
            return _json({"name": key})
        query = urllib.parse.urlencode({"name": key, "upload_id": next(self._uploads)})
        place = f"https://{_HOST}/upload/storage/v1/b/{bucket}/o?{query}"
        return werkzeug.Response(headers={"Location": place})

    def _upload(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        upload = request.args["upload_id"]
        asks = request.headers.get("Content-Range", "").startswith("bytes */")
        if asks and upload not in self._done:
            return werkzeug.Response(status=308)
        if not asks:
            self._other.put(bucket, key, body)
            self._done.add(upload)
        return _json({"name": key})

    def _copy(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        theirs, _, name = request.headers["x-goog-copy-source"].partition("/")
        found = self._other.buckets[theirs].get(urllib.parse.unquote(name))
        if found is None:
            return werkzeug.Response(status=404)
        self._other.put(bucket, key, found.data)
        return _json({"done": True})

    def _delete(self, request: werkzeug.Request, body: bytes, bucket: str, key: str) -> Any:
        gone = self._other.buckets[bucket].pop(key, None)
        return werkzeug.Response(status=404 if gone is None else 204)


def _json(told: Any) -> werkzeug.Response:
    return werkzeug.Response(json.dumps(told), content_type="application/json")
