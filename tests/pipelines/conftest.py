"""Makes small Beam jobs a third cheaper: hundreds of tests run one, and Beam asks itself the same things again."""

import types
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core
from s3_server import s3  # noqa: F401 - a fixture


@pytest.fixture(scope="session", autouse=True)
def beam_remembers_answers() -> Iterator[None]:
    """Store the arguments of each method of a DoFn, and each view of a job's options.

    Beam inspects the 32 methods of every DoFn eight times a job, and builds a parser for each of 600 looks at the
    options. The arguments depend on the method's function alone; all views of some options share their values.
    """
    inspect, view_as = core.get_function_args_defaults, PipelineOptions.view_as
    arguments: dict[Callable[..., Any], tuple[list[str], list[Any]]] = {}
    views: WeakKeyDictionary[PipelineOptions, dict[type, Any]] = WeakKeyDictionary()

    def remembered_arguments(method: Callable[..., Any]) -> tuple[list[str], list[Any]]:
        if not isinstance(method, types.MethodType):
            return inspect(method)
        if method.__func__ not in arguments:
            arguments[method.__func__] = inspect(method)
        names, defaults = arguments[method.__func__]
        return list(names), list(defaults)

    def remembered_view(options: PipelineOptions, kind: type) -> Any:
        known = views.setdefault(options, {})
        if kind not in known:
            known[kind] = view_as(options, kind)
        return known[kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "get_function_args_defaults", remembered_arguments)
        patch.setattr(PipelineOptions, "view_as", remembered_view)
        yield
