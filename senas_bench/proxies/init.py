"""Weights as some proxies want them, drawn from an explicit generator in the order of the modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


def normal(network: Alone, generator: torch.Generator) -> None:
    """All weights of layers from a normal distribution of deviation 1, whatever the layer; biases 0, norms as new."""
    _draw(network, generator, kaiming=False)


def kaiming_normal(network: Alone, generator: torch.Generator) -> None:
    """All weights of layers from a normal distribution of variance 2 / inputs; biases 0, norms as new (He et al., ICCV
    2015)."""
    _draw(network, generator, kaiming=True)


def _draw(network: Alone, generator: torch.Generator, kaiming: bool) -> None:
    import torch

    with torch.no_grad():
        for layer in network.layers:
            deviation = (2 / layer.weight[0].numel()) ** 0.5 if kaiming else 1.0
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * deviation)
            if layer.bias is not None:
                layer.bias.zero_()
    for norm in network.norms:
        norm.reset_parameters()
