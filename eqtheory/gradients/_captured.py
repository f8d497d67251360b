"""Tensors that an operator uses without being handed them: parameters, buffers, attributes, closures, globals.

`torch.func` differentiates functions of their arguments, so what an operator has captured must become an argument. Every place that
holds such a tensor is found once; for the time of one evaluation other tensors are put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.nests import map_tensors, tensors
from eqtheory.operators import ImplicitOperator

__all__ = ["Captured"]

_LIBRARIES = {"torch", "numpy", "scipy", "builtins", "math"}
"""Functions of these use no tensor that they are not handed."""


@dataclass(frozen=True)
class _Place:
    """Somewhere a nest of tensors is kept."""

    nest: Any
    put: Callable[[Any], None]


@final
class Captured:
    """The floating-point tensors an operator has captured, each once.

    Args:
        operator: where to look. Seen are parameters and buffers of modules, attributes of modules, operators and other objects, what the
            closures and defaults of functions hold, and globals that functions name; through all of these that they hold in turn.
    """

    def __init__(self, operator: Any) -> None:
        self._places: list[_Place] = []
        self._seen: set[int] = set()
        self._visit(operator)
        found = {id(t): t for place in self._places for _, t in tensors(place.nest) if _inexact(t)}
        self.tensors = tuple(found.values())

    @contextmanager
    def replaced(self, others: Sequence[Tensor]) -> Iterator[None]:
        """Put other tensors in the places of the captured ones.

        Args:
            others: as many as `tensors`, in that order.

        Yields:
            Nothing; what was there comes back afterwards.
        """
        instead = {id(old): new for old, new in zip(self.tensors, others, strict=True)}
        try:
            for place in self._places:
                place.put(map_tensors(lambda t: instead.get(id(t), t), place.nest))
            yield
        finally:
            for place in self._places:
                place.put(place.nest)

    def _visit(self, thing: Any) -> None:
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        if isinstance(thing, torch.nn.Module):
            self._module(thing)
        elif isinstance(thing, FunctionType):
            if thing.__module__ is None or thing.__module__.split(".")[0] not in _LIBRARIES:
                self._function(thing)
        elif isinstance(thing, MethodType):
            self._visit(thing.__func__)
            self._attributes(thing.__self__)
        elif isinstance(thing, partial):
            self._visit(thing.func)
            for value in (*thing.args, *thing.keywords.values()):
                self._held(value, None)
        elif isinstance(thing, ImplicitOperator) or _plain(thing):
            self._attributes(thing)
            self._visit(vars(type(thing)).get("__call__"))

    def _module(self, module: torch.nn.Module) -> None:
        for held in (module._parameters, module._buffers):  # noqa: SLF001  (as torch.func.functional_call does)
            for name in held:
                self._held(held[name], partial(held.__setitem__, name))
        for child in module.children():
            self._visit(child)
        self._attributes(module)
        self._visit(type(module).forward)

    def _attributes(self, thing: Any) -> None:
        if isinstance(thing, torch.nn.Module) and id(thing) not in self._seen:
            self._visit(thing)
            return
        for name, value in list(getattr(thing, "__dict__", {}).items()):
            if not (isinstance(thing, torch.nn.Module) and name.startswith("_")):
                self._held(value, partial(object.__setattr__, thing, name))

    def _function(self, function: FunctionType) -> None:
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:  # not yet bound
                continue
            self._held(value, partial(setattr, cell, "cell_contents"))
        for value in function.__defaults__ or ():
            self._held(value, None)
        for name in function.__code__.co_names:
            if name in function.__globals__:
                self._held(function.__globals__[name], partial(function.__globals__.__setitem__, name))

    def _held(self, value: Any, put: Callable[[Any], None] | None) -> None:
        """Something that is kept somewhere: tensors to be replaced, or what may hold more."""
        if put is not None and any(_inexact(t) for _, t in _shallow(value)):
            self._places.append(_Place(value, put))
        elif isinstance(value, (torch.nn.Module, FunctionType, MethodType, partial, ImplicitOperator)) or _plain(value):
            self._visit(value)
        elif isinstance(value, (tuple, list)):
            for part in value:
                if isinstance(part, (torch.nn.Module, FunctionType, MethodType, partial, ImplicitOperator)):
                    self._visit(part)


def _shallow(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors of plain containers; objects of other kinds are looked into elsewhere."""
    if isinstance(value, (Tensor, tuple, list, Mapping)) and not isinstance(value, torch.nn.Module):
        yield from tensors(value)


def _plain(value: Any) -> bool:
    """An object of somebody's class, whose attributes may hold tensors."""
    kind = type(value)
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, (type, ModuleType, Tensor))
        and kind.__module__.split(".")[0] not in _LIBRARIES
    )


def _inexact(t: Tensor) -> bool:
    return t.dtype.is_floating_point or t.dtype.is_complex
