"""Whether a layer computes what its class of torch computes.

A constant is known for the map that `forward` of a class of `torch.nn` is. That map is the code of `forward` and of every method it
calls; a subclass or an instance that replaces one of them, or the way modules are called, is another map. The methods are read off the
code itself, so that none is forgotten; what every module has besides (its parameters, its moves between devices) changes no value.
A loop over a module names no method, so that `__iter__` is looked at by name.

Hooks change what a call returns too, those of the module as well as those that torch runs for every module.
"""

from __future__ import annotations

from types import FunctionType

from torch import nn
from torch.nn.modules import module as calls

__all__ = ["forward_hooks", "replaced_method"]

_CALLS = ("forward", "__call__", "_call_impl", "__iter__")


def forward_hooks(layer: nn.Module) -> str | None:
    """Look for hooks that may change what a call of the layer returns.

    Args:
        layer: any module.

    Returns:
        What there is, in words; `None` where there is none.
    """
    # torch offers no other way to see them
    if layer._forward_hooks or layer._forward_pre_hooks:  # noqa: SLF001
        return "with hooks"
    if calls._global_forward_hooks or calls._global_forward_pre_hooks:  # noqa: SLF001
        return "under hooks of all modules"
    return None


def replaced_method(layer: nn.Module, base: type[nn.Module]) -> str | None:
    """Look for a method that the layer has of its own where its class's map needs that of torch.

    Args:
        layer: an instance of `base`.
        base: a layer of torch.

    Returns:
        Its name, or `None` where the layer computes what `base` does.
    """
    kind = type(layer)
    compiled = layer._compiled_call_impl  # noqa: SLF001  (a call goes there first)
    if compiled is not None and getattr(compiled, "_torchdynamo_orig_callable", None) != layer._call_impl:  # noqa: SLF001
        return "_compiled_call_impl"
    return next((n for n in _needed(base) if n in vars(layer) or getattr(kind, n, None) is not getattr(base, n)), None)


def _needed(base: type[nn.Module]) -> tuple[str, ...]:
    found: list[str] = []
    waiting = [*_CALLS]
    while waiting:
        name = waiting.pop(0)
        method = getattr(base, name, None)
        if name in found or not isinstance(method, FunctionType) or (name not in _CALLS and hasattr(nn.Module, name)):
            continue
        found.append(name)
        if name not in _CALLS[1:]:
            waiting += method.__code__.co_names
    return tuple(found)
