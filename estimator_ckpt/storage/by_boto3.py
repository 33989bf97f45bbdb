"""What S3 does and obstore can't ask for: boto3 does it, where that is installed.

if by_boto3.is_available():
    found = by_boto3.list_folder(store, "s3://bucket/job")
    by_boto3.copy_large(store, "s3://bucket/a", "s3://bucket/b")
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any, NamedTuple


class Found(NamedTuple):
    """What is in a folder, by keys.

    Attributes:
      objects: each as obstore tells it: path, size, last_modified.
      prefixes: of what lies below, with a slash at the end.
      odd: those, and beginnings of those, that no path leads to, as a part
        is empty, or `.`, or `..`.
    """

    objects: list[dict[str, Any]]
    prefixes: list[str]
    odd: list[str]


def is_available() -> bool:
    """Returns whether boto3 can be loaded."""
    try:
        import boto3  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def list_folder(store: Any, path: str) -> Found:
    """Lists a folder that has keys which obstore can't read.

    Args:
      store: obstore's, of the bucket.
      path: of the folder, `s3://BUCKET/KEY`.

    Raises:
      OSError: the store refuses it.
    """
    bucket, _, key = path.partition("://")[2].partition("/")
    asked = {"Bucket": bucket, "Delimiter": "/", "Prefix": f"{key}/" if key else ""}
    found = Found([], [], [])
    with _refusals(path):
        for page in _client(store).get_paginator("list_objects_v2").paginate(**asked):
            for each in page.get("Contents", ()):
                if _is_odd(each["Key"]):
                    found.odd.append(each["Key"])
                else:
                    size, modified = each["Size"], each["LastModified"]
                    found.objects.append(
                        {"path": each["Key"], "size": size, "last_modified": modified}
                    )
            for each in page.get("CommonPrefixes", ()):
                kind = found.odd if _is_odd(each["Prefix"]) else found.prefixes
                kind.append(each["Prefix"])
    return found


def copy_large(store: Any, source: str, target: str) -> None:
    """Copies on the server's side in parts, what is too large for one copy.

    Args:
      store: obstore's, of the source's bucket.
      source: `s3://BUCKET/KEY`.
      target: `s3://BUCKET/KEY`.

    Raises:
      OSError: the store refuses it.
    """
    (old, key), (new, name) = (path.partition("://")[2].split("/", 1) for path in (source, target))
    with _refusals(source):
        _client(store).copy({"Bucket": old, "Key": key}, new, name)


def _client(store: Any) -> Any:
    import boto3
    import botocore

    config = store.config
    unsigned = str(config.get("skip_signature", "")).lower() == "true"
    return boto3.client(
        "s3",
        endpoint_url=config.get("endpoint"),
        region_name=config.get("region"),
        config=botocore.config.Config(signature_version=botocore.UNSIGNED) if unsigned else None,
    )


def _is_odd(key: str) -> bool:
    parts = key.removesuffix("/").split("/")
    return any(part in ("", ".", "..") for part in parts)


@contextlib.contextmanager
def _refusals(path: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(errno.EIO, f"boto3: {error}", path) from None
