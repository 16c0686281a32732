"""What a training-free proxy is: a number for an untrained network, and what it is a number of. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from senas_bench.strategies import no_instance, uncalled

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone

DATA = ("nothing", "noise", "images", "labels")
BY_AUTHORS = "NAS-Bench-201, by its authors"
"""Of a proxy whose paper measures its choices on the benchmark that judges it here."""
SCORED = ("string", "pruned", "function")


class Proxy:
    """Base of all proxies, with what they declare.

    A subclass is a frozen dataclass with

        def __call__(self, network, images, labels, generator) -> float

    where `network` is an `Alone`, which the proxy may change as it likes; `images` are `(batch, C, H, W)`, `labels`
    `(batch,)`, and `generator`, on the CPU, gives all other random numbers. Higher is better; nan counts as -inf.

    Attributes:
        data: What it looks at, one of `DATA`: nothing, so that of the images it may read the shape alone; images of
            noise, drawn from a normal distribution; real images; or real images and their labels.
        batch: How many images, where nobody asks for another number.
        of: What decides its score beside the random numbers, one of `SCORED`: the arch `string`, dead edges and all;
            the arch `pruned` of its dead edges; or the `function`, whatever its edges are called. It is given the arch
            that stands for all of these, see `spaces.Space`.
        saw: Whose truth its authors had in view when they chose it, in words; none that is known if empty.
        needs_features: It reads the outputs of the network's blocks: the network has a method `features(x, path)`.
        family: The name of several proxies that one look gives at once, which is then taken once for all of them: they
            share `numbers`, and are alike in all else above. None if empty.
        place: Where among the numbers of its family this one's score is.
    """

    data = "labels"
    batch = 32
    of = "function"
    saw = ""
    needs_features = False
    family = ""
    place = 0

    def numbers(
        self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """The scores of the family, as many for each arch; of a proxy without one, its own."""
        return (self(network, images, labels, generator),)

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        """The score of one network: a proxy is made by writing this."""
        raise NotImplementedError


def checked(proxy: Proxy, numbers: Sequence[Any]) -> tuple[float, ...]:
    """What a proxy returned, as floats.

    Raises:
        ValueError: Something is no number, nor a tensor of one.
    """
    try:
        return tuple(float(number) for number in numbers)
    except (TypeError, ValueError, RuntimeError):
        wrong = next(number for number in numbers if not isinstance(number, int | float))
        shape = getattr(wrong, "shape", None)
        what = type(wrong).__name__ + ("" if shape is None else f" of shape {tuple(shape)}")
        raise ValueError(f"the proxy {type(proxy).__name__} returned {what}; return one float") from None


def check_proxy(proxy: Any) -> None:
    """Raise ValueError, in a sentence, where a strategy cannot be a proxy."""
    if isinstance(proxy, Proxy):
        arguments = ("network", "images", "labels", "generator")
        why = no_instance(proxy) or uncalled(proxy, arguments, "float", Proxy) or _undeclared(proxy)
    elif isinstance(proxy, type):
        why = no_instance(proxy)
    else:
        why = "write a frozen dataclass that inherits proxies.proxy.Proxy, and name an instance of it"
    if why:
        raise ValueError(f"{proxy!r:.80} is no proxy: {why}")


def _undeclared(proxy: Proxy) -> str | None:
    for name, allowed in (("data", DATA), ("of", SCORED)):
        if (value := getattr(proxy, name)) not in allowed:
            return f"{name} is {value!r:.40}; one of: {', '.join(allowed)}"
    return None
