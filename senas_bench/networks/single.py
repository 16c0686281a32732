"""Stand-alone networks cut out of one that holds many: built in a tenth of the time, and alike where archs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

if TYPE_CHECKING:
    from senas_bench.spaces import Arch

Module = TypeVar("Module", bound=nn.Module)


def single(network: Module, arch: Arch) -> Module:
    """The stand-alone network of one arch: copies of the modules of a network over more archs that this one may run.

    Its modules and tensors have the names, types and memory formats of a network built over `space.only(arch)`. Modules
    that hold candidates say which of them an arch takes by a method `chosen(arch) -> {name: module}`; of all others
    everything is copied. Nothing is shared with `network` but what is never changed in place.

    Args:
        network: Unexpanded.
    """
    twin = object.__new__(type(network))
    own: dict[str, Any] = twin.__dict__
    for name, value in network.__dict__.items():
        own[name] = value.copy() if isinstance(value, dict | set) else value
    for name, tensor in network._buffers.items():
        own["_buffers"][name] = None if tensor is None else tensor.clone()
    for name, tensor in network._parameters.items():
        own["_parameters"][name] = None if tensor is None else _copied(tensor)
    chosen: Any = getattr(network, "chosen", None)
    children: Any = chosen(arch) if chosen else network._modules
    own["_modules"] = {name: child if child is None else single(child, arch) for name, child in children.items()}
    return twin


def _copied(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
