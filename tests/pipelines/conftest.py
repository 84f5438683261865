"""Fixtures of the pipelines' tests."""

from s3_server import s3  # noqa: F401 - a fixture
