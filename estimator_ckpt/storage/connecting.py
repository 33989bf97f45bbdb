"""Opens the store of a bucket, with what the store's own tools are told by the environment.

    store = connect("s3", "bucket")

For S3 that is `AWS_*`, a profile of `~/.aws`, and what boto3 finds, where it is installed; for
Google Cloud Storage `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own login and
`STORAGE_EMULATOR_HOST`; for Azure `AZURE_STORAGE_*`. Nothing of that is ever printed.
"""

from __future__ import annotations

import configparser
import errno
import functools
import importlib.util
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

SCHEMES = ("s3", "gs", "az")
_VARIABLES = ("AWS_", "S3_", "GOOGLE_", "STORAGE_EMULATOR_", "AZURE_", "HOME", "SSL_CERT_")
# obstore takes these from the environment by itself, under names of its own.
_AZURE = {
    "AZURE_STORAGE_ACCOUNT": "account_name",
    "AZURE_STORAGE_KEY": "account_key",
}
# 100 ms at first, then twice as long each time: a minute in all.
_RETRIES = {"max_retries": 8, "retry_timeout": timedelta(seconds=120)}
_LONGEST = timedelta(minutes=10)
_used_in: int | None = None  # the process; its threads, obstore's among them, are in no fork of it


def is_available(module: str = "obstore") -> bool:
    """Returns whether a module is installed, which is not loaded."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def connect(scheme: str, bucket: str, *, across: bool = False) -> Any:
    """Returns the store of a bucket (of a container, on Azure), which is opened once.

    Args:
      scheme: one of `SCHEMES`.
      bucket: its name.
      across: on S3, whether it is for copies from there to other buckets: their names are the
        beginnings of the keys that are written.

    Raises:
      OSError: a store was used before this process was forked; or what is told is not enough.
    """
    global _used_in
    if _used_in not in (None, os.getpid()):
        raise OSError(
            errno.ENOTSUP,
            "this process was forked from one that has used a store, and would wait for ever; "
            'start processes by multiprocessing.get_context("spawn")',
        )
    _used_in = os.getpid()
    told = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    return _connect(scheme, bucket, tuple(sorted(told.items())), across)


@functools.lru_cache(maxsize=256)
def _connect(scheme: str, bucket: str, told: tuple[tuple[str, str], ...], across: bool) -> Any:
    from obstore.store import AzureStore, GCSStore, S3Store

    environment = dict(told)
    # Who gives an address that begins with http:// means it.
    client: dict[str, Any] = {"timeout": _LONGEST, "allow_http": True}
    if bundle := environment.get("AWS_CA_BUNDLE") if scheme == "s3" else None:
        with open(bundle, "rb") as file:
            client["root_certificate"] = file.read()
    options: dict[str, Any] = {"retry_config": _RETRIES}
    if scheme == "s3":
        config, provider = _s3(environment)
        make: Any = S3Store
        if provider is not None:
            options["credential_provider"] = provider
        if across:
            region = config.get("region", "us-east-1")
            config.setdefault("endpoint", f"https://s3.{region}.amazonaws.com")
            config["virtual_hosted_style_request"] = True  # no bucket is put behind the endpoint
    elif scheme == "gs":
        config, make = _gs(environment), GCSStore
    else:
        config, make = _az(environment), AzureStore
    return make(bucket, config=config, client_options=client, **options)


def _s3(environment: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
    profile = _profile(environment)
    config: dict[str, Any] = {}
    endpoint = (
        environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or environment.get("AWS_ENDPOINT")
        or _of_tensorflow(environment)
        or profile.get("endpoint_url")
    )
    if endpoint:
        config["endpoint"] = _address(endpoint)
    region = (
        environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or profile.get("region")
        or (environment.get("S3_REGION") or None)
    )
    if region:
        config["region"] = region
    if environment.get("AWS_ACCESS_KEY_ID") or _is_on(environment.get("AWS_SKIP_SIGNATURE")):
        return config, None  # obstore takes those itself
    if importlib.util.find_spec("boto3") is not None:
        provider = _of_boto3()
        if provider is not None:
            return config, provider
    if "aws_access_key_id" in profile and "aws_secret_access_key" in profile:
        config["access_key_id"] = profile["aws_access_key_id"]
        config["secret_access_key"] = profile["aws_secret_access_key"]
        if "aws_session_token" in profile:
            config["session_token"] = profile["aws_session_token"]
    return config, None


def _address(endpoint: str) -> str:
    """Returns an endpoint, if it is whole.

    Raises:
      OSError: it has no scheme, or nothing behind that.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise OSError(
            errno.EINVAL,
            f"the endpoint '{shown}' must be whole, such as http://127.0.0.1:9000 "
            "(AWS_ENDPOINT_URL, or endpoint_url of the profile)",
        )
    return endpoint.rstrip("/")


def _of_tensorflow(environment: Mapping[str, str]) -> str | None:
    """Returns the endpoint that TensorFlow's own plug-in for S3 is given, as an address."""
    endpoint = environment.get("S3_ENDPOINT")
    if not endpoint or "://" in endpoint:
        return endpoint or None
    secure = environment.get("S3_USE_HTTPS", "1") not in ("0", "false")
    return f"{'https' if secure else 'http'}://{endpoint}"


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what the files of the AWS tools say of the profile in use."""
    name = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    found: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = environment.get(variable) or os.path.join("~", ".aws", file)
        parser = configparser.RawConfigParser()
        try:
            parser.read(os.path.expanduser(path), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # the store says that it has no credentials
        if parser.has_section(section):
            found.update(parser.items(section))
    return found


def _of_boto3() -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        found = session.get_credentials()
    except BotoCoreError as error:
        text = f"the AWS tools can't find credentials: {error}; see to AWS_PROFILE and ~/.aws"
        raise PermissionError(errno.EACCES, text) from error
    return None if found is None else Boto3CredentialProvider(session)


def _gs(environment: Mapping[str, str]) -> dict[str, Any]:
    emulator = environment.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return {}
    address = emulator if "://" in emulator else f"http://{emulator}"
    return {"base_url": address.rstrip("/"), "skip_signature": True}


def _az(environment: Mapping[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        key: environment[name] for name, key in _AZURE.items() if environment.get(name)
    }
    pairs = (
        part.partition("=")
        for part in environment.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")
    )
    given = {name.strip().lower(): value for name, _, value in pairs}
    for name, key in (
        ("accountname", "account_name"),
        ("accountkey", "account_key"),
        ("blobendpoint", "endpoint"),
    ):
        if given.get(name):
            config.setdefault(key, given[name])
    return config


def _is_on(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on")
