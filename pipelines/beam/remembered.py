"""What Beam 2.77 asks itself again and again while it builds and starts a job is stored the first time.

Beam inspects the 32 methods of every DoFn eight times a job, and builds a parser of the command line for each of 400
looks at its options. Without this, that is half of what a small job costs. Importing this module replaces three
functions: the arguments of a method depend on its function alone, a DoFn's states on the DoFn, and all views of some
options share their values.
"""

import types
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core, userstate

_inspect, _view_as, _specs = core.get_function_args_defaults, PipelineOptions.view_as, userstate.get_dofn_specs
_arguments: WeakKeyDictionary[Callable[..., Any], tuple[list[str], list[Any]]] = WeakKeyDictionary()
_views: WeakKeyDictionary[PipelineOptions, dict[type, Any]] = WeakKeyDictionary()
_states: WeakKeyDictionary[core.DoFn, tuple[frozenset[Any], frozenset[Any]]] = WeakKeyDictionary()


def arguments_of(method: Callable[..., Any]) -> tuple[list[str], list[Any]]:
    """Return the names and defaults of a function's arguments, without `self` for a method."""
    if not isinstance(method, types.MethodType) or not isinstance(method.__func__, types.FunctionType):
        return _inspect(method)
    found = _arguments.get(method.__func__)
    if found is None:
        found = _arguments[method.__func__] = _inspect(method)
    names, defaults = found
    return list(names), list(defaults)


def view_of(options: PipelineOptions, kind: type) -> Any:
    """Return a view of some options; it shares their values, so that it may be used again."""
    known = _views.setdefault(options, {})
    if kind not in known:
        known[kind] = _view_as(options, kind)
    return known[kind]


def states_of(step: core.DoFn) -> tuple[set[Any], set[Any]]:
    """Return the states and the timers that a DoFn's methods ask for."""
    if step not in _states:
        states, timers = _specs(step)
        _states[step] = frozenset(states), frozenset(timers)
    states, timers = map(set, _states[step])
    return states, timers


core.get_function_args_defaults = arguments_of
userstate.get_dofn_specs = states_of
PipelineOptions.view_as = view_of
