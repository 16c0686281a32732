"""The MobileNet-like space: inverted bottlenecks of different kernel and expansion, layer by layer (paper Table 2).

Source: Cai, Zhu and Han, "ProxylessNAS", ICLR 2019; the blocks are those of MobileNetV2 (Sandler et al., CVPR 2018).
The three operators with group size 2 are what we take SE-NAS-D to add: the paper does not name them (docs/method.md 6).
"""

from __future__ import annotations

from senas_bench.spaces.mobilenet.skeleton import TABLE2, Block, MobileSkeleton
from senas_bench.spaces.space import Arch, SearchSpace
from senas_bench.spaces.texts import refuse_genotype

OPERATORS = ("k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6", "identity", "k3e6g2", "k5e6g2", "k7e6g2")
IDENTITY = OPERATORS.index("identity")
BLOCKS = {
    **dict(enumerate(Block(kernel, expansion) for kernel in (3, 5, 7) for expansion in (3, 6))),
    **{IDENTITY + i: Block(kernel, 6, groups=2) for i, kernel in enumerate((3, 5, 7), start=1)},
}
"""The block of each operator; identity has none. Operators behind identity are in the group-2 space only."""


def mobilenet_space(skeleton: MobileSkeleton = TABLE2, group2: bool = False, identity: bool = True) -> SearchSpace:
    """The space over a skeleton's layers; with its default 21 layers and 6^6 x 7^15 archs (the paper writes 7^21).

    Args:
        group2: Adds the three operators of SE-NAS-D. The space is then named `mobilenet-g2`; an arch of the smaller
            space is the same arch in it.
        identity: Off, the six blocks are the candidates of every layer, as in FairNAS (Chu et al., ICCV 2021). The
            space is then named `mobilenet-fair`; its archs are archs of `mobilenet`.

    Raises:
        ValueError: Group 2 without identity, which nobody has.
    """
    if group2 and not identity:
        raise ValueError("the operators of group 2 come with identity; leave one of the two as it is")
    if not identity:
        edges, blocks = tuple(layer.name for layer in skeleton.layers), tuple(range(IDENTITY))
        return SearchSpace("mobilenet-fair", OPERATORS[:IDENTITY], edges, (blocks,) * len(edges))
    blocks = tuple(op for op in BLOCKS if group2 or op < IDENTITY)
    return SearchSpace(
        name="mobilenet-g2" if group2 else "mobilenet",
        operators=OPERATORS if group2 else OPERATORS[: IDENTITY + 1],
        edges=tuple(layer.name for layer in skeleton.layers),
        candidates=tuple(
            tuple(sorted((*blocks, IDENTITY))) if layer.skippable else blocks for layer in skeleton.layers
        ),
    )


MOBILENET = mobilenet_space()
MOBILENET_G2 = mobilenet_space(group2=True)
MOBILENET_FAIR = mobilenet_space(identity=False)


def _code(op: int) -> str:
    return "-1" if op == IDENTITY else str(op)


def arch_to_str(arch: Arch) -> str:
    """One code per layer, shallow to deep, separated by spaces, such as `2 -1 -1 -1 4 -1 ...`.

    A code is the operator's index: k3e3, k3e6, k5e3, k5e6, k7e3, k7e6 are 0 to 5, the group-2 variants k3e6g2, k5e6g2,
    k7e6g2 are 7 to 9. Identity is -1, though 6 in the tuple.
    """
    return " ".join(map(_code, arch))


def arch_from_str(text: str, space: SearchSpace = MOBILENET) -> Arch:
    """Read the codes of an arch; see `arch_to_str`.

    Args:
        space: Where the arch must lie.

    Raises:
        ValueError: The text does not describe an arch of the space; the message says what is wrong and allowed.
    """
    refuse_genotype(text)
    codes = text.split()
    if len(codes) != len(space.edges):
        raise ValueError(
            f"bad arch string {text!r}: {len(codes)} codes for {len(space.edges)} layers; "
            "write one code per layer, separated by spaces, -1 for identity"
        )
    arch = []
    for layer, code, alive in zip(space.edges, codes, space.candidates, strict=True):
        allowed = {_code(op): op for op in alive}
        if code not in allowed:
            names = ", ".join(f"{known} {space.operators[op]}" for known, op in allowed.items())
            raise ValueError(f"bad arch string {text!r}: {code!r} on layer {layer}; one of: {names}")
        arch.append(allowed[code])
    return tuple(arch)
