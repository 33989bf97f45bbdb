"""What stores answer, as OSErrors that say what to do; no credentials are in them.

with refusals("s3://bucket/key"):
    obstore.head(store, "key")
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")
_ANSWER = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
_ADDRESS = re.compile(r"https?://[^\s'\"]+")

_HOW = {
    "s3": "give credentials as the AWS tools take them: AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (and AWS_REGION)",
    "gs": "give credentials as Google's tools take them: GOOGLE_APPLICATION_CREDENTIALS, or "
    "`gcloud auth application-default login`",
    "az": "give credentials as Azure's tools take them: AZURE_STORAGE_ACCOUNT with "
    "AZURE_STORAGE_KEY, or AZURE_STORAGE_CONNECTION_STRING",
}
_WHERE = {
    "s3": "AWS_ENDPOINT_URL and AWS_REGION",
    "gs": "STORAGE_EMULATOR_HOST",
    "az": "AZURE_STORAGE_ACCOUNT",
}


class _Beyond(OSError):
    """A range begins after the end of a file."""


class _OddKey(OSError):
    """Something in a folder has a key that is no path."""


@contextlib.contextmanager
def refusals(path: str) -> Iterator[None]:
    """Makes OSErrors of what obstore raises in the block.

    Args:
      path: what is asked for, to name in the error.

    Raises:
      FileNotFoundError: there is no such object, or no such bucket.
      FileExistsError: there is one, and there was to be none.
      PermissionError: there are no credentials, or the store refuses them.
      ConnectionError: the store can't be reached.
      OSError: anything else that the store answers.
    """
    try:
        yield
    except Exception as error:
        found = _as_os_error(error, path)
        if found is None:
            raise
        raise found from None  # obstore's own texts have addresses, which may be signed
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, which has no public type
            raise
        text = f"obstore has failed: {_first_line(str(error))}; see to {_where(path)}"
        raise OSError(errno.EINVAL, text, path) from None


def is_beyond(error: BaseException) -> bool:
    """Returns whether the error is that a range begins after the end of a file."""
    return isinstance(error, _Beyond)


def is_of_odd_key(error: BaseException) -> bool:
    """Returns whether the error is that a key in a folder is no path, such as `a//b` or `a/./b`."""
    return isinstance(error, _OddKey)


def is_too_large_to_copy(error: BaseException) -> bool:
    """Returns whether the error is S3's for a copy in one piece of more than 5 GB."""
    return isinstance(error, OSError) and "maximum allowable size" in str(error)


def _as_os_error(error: Exception, path: str) -> OSError | None:
    kind, text = type(error).__name__, str(error)
    is_ours = type(error).__module__.startswith("obstore")
    if not is_ours and not isinstance(error, (FileNotFoundError, PermissionError, ValueError)):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return None  # of a local file, or one that was made here
    if isinstance(error, ValueError):
        if "path" not in text.lower():
            return None
        return OSError(errno.EINVAL, f"no object can have this name: {_first_line(text)}", path)
    scheme = path.partition("://")[0]
    code, status = _found(_CODE, text), _found(_STATUS, text)
    said = _said(text)
    if code in ("NoSuchBucket", "ContainerNotFound"):
        bucket, kind = urlsplit(path).netloc, "container" if scheme == "az" else "bucket"
        return FileNotFoundError(
            errno.ENOENT,
            f"there is no {kind} '{bucket}' ({_WHERE.get(scheme, '')} say where)",
            path,
        )
    if kind == "InvalidPathError":
        return _OddKey(
            errno.EINVAL,
            "an object in there has a key with an empty part ('//') or one that is '.' or '..' "
            f"({_quoted(text)}), so that this folder can't be listed; rename or remove that object"
            + (", or pip install boto3 to have it passed over" if scheme == "s3" else ""),
            path,
        )
    if isinstance(error, FileNotFoundError) or kind == "NotFoundError":
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if kind in ("AlreadyExistsError", "PreconditionError"):
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    if status == "416" or "Wanted range starting at" in text:  # obstore's own, of Azure's answer
        return _Beyond(errno.EINVAL, "it ends before", path)
    if _lacks_credentials(text):
        return PermissionError(errno.EACCES, f"there are no credentials; {_HOW.get(scheme)}", path)
    if status in ("401", "403") or kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return PermissionError(
            errno.EACCES, f"the store refuses access ({said}); {_HOW.get(scheme, '')}", path
        )
    if "error sending request" in text or "timed out" in text or "kind: Connect" in text:
        address = _ADDRESS.search(text)
        host = urlsplit(address[0]).netloc.rpartition("@")[2] if address else "the store"
        return ConnectionError(
            errno.EHOSTUNREACH, f"can't reach {host}; see to {_WHERE.get(scheme)}", path
        )
    if status in ("301", "307") or "incorrectly configured region" in text:
        return OSError(
            errno.EINVAL, f"the bucket is in another region ({said}); set AWS_REGION", path
        )
    return OSError(errno.EIO, said, path)


def _where(path: str) -> str:
    return _WHERE.get(path.partition("://")[0], "its address")


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _said(text: str) -> str:
    """Returns what the store said, without what it says of the request."""
    # Behind the first line of a message, Azure's has numbers of the request.
    parts = [_found(_CODE, text), _found(_MESSAGE, text).partition("\n")[0]]
    return ": ".join(filter(None, parts)) or _found(_ANSWER, text).strip() or _first_line(text)


def _quoted(text: str) -> str:
    """Returns the path that obstore's text has in quotation marks."""
    match = re.search(r'Path "([^"]*)"', text)
    return match[1] if match else _first_line(text)


def _first_line(text: str) -> str:
    return _ADDRESS.sub("the store", text.strip().partition("\n")[0])[:300]


def _lacks_credentials(text: str) -> bool:
    return any(
        sign in text
        for sign in (
            "169.254.169.254",
            "/latest/api/token",
            "/metadata/identity",
            "metadata.google.internal",
            "performing token request",
            "169.254.170.2",
            "MissingCredential",
            "Missing AccessKeyId",
            "MissingAccessKeyId",
            "MissingSecretAccessKey",
            "Account must be specified",
        )
    )
