"""A real S3 server on this machine (moto's), whose credentials can be recognised wherever they should not be."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from base import stores

KEY_ID, SECRET = "AKIARECOGNISABLE", "recognisable+secret/of+tests"
BUCKET = "pictures"


class Server:
    """A running server with one bucket.

    Attributes:
        url: its address.
        client: Amazon's own client, the oracle.
    """

    def __init__(self) -> None:
        # Here, because most tests that see the fixture don't use it.
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.client: Any = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, region_name="us-east-1"
        )
        self.client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes) -> str:
        """Write an object; return its address."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Return the contents of all objects that are no folder markers, by key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key: self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys if not key.endswith("/")
        }

    def stop(self) -> None:
        """Stop the server: connections are refused from now on."""
        self._server.stop()


@contextmanager
def environment(url: str) -> Iterator[None]:
    """Let this process, and those that it starts, find a server and its credentials in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ALLOW_HTTP", "true")  # as Polars asks
        stores.filesystem.cache_clear()
        yield
    stores.filesystem.cache_clear()


@pytest.fixture(scope="module")
def s3() -> Iterator[Server]:
    """Yield an S3 server that the environment names."""
    server = Server()
    with environment(server.url):
        yield server
    server.stop()
