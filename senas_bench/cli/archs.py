"""Commands on archs that somebody has: `draw` and `cost`."""

from pathlib import Path
from typing import Annotated

import typer

from senas_bench.cli.completion import one_of
from senas_bench.cli.options import OUTPUT, SIZE, WHAT, JsonOption, SpaceOption, print_json

NetworkPresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Numbers of the network of embedded, cpu or paper; by default of the literature's.",
        rich_help_panel=SIZE,
        autocompletion=one_of("PRESETS"),
    ),
]
NetworkDatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Whose network: cifar10 and others, or imagenet; the preset's or the space's first by default.",
        rich_help_panel=SIZE,
        autocompletion=one_of("DATASETS"),
    ),
]


def draw(
    file: Annotated[Path, typer.Argument(help="JSON or text file of archs.")],
    out: Annotated[Path, typer.Option(help="Picture to write: .png or .svg.", rich_help_panel=OUTPUT)],
    space: Annotated[
        str | None,
        typer.Option(
            help="Space of archs for which the file names none.",
            rich_help_panel=WHAT,
            autocompletion=one_of("SPACES"),
        ),
    ] = None,
    preset: NetworkPresetOption = None,
    dataset: NetworkDatasetOption = None,
) -> None:
    """Draw archs, ours or yours: blocks of MobileNet-like networks with what they cost, graphs of cells."""
    from senas_bench.files import atomic_write, check_output

    check_output(out, (".png", ".svg"))
    from senas_bench.api.archs import network_of
    from senas_bench.spaces.archfile import read_archs

    archs = read_archs(file, space)
    network = network_of(archs[0].space, preset, dataset)
    from senas_bench.analysis.output.figures import to_bytes
    from senas_bench.spaces import space_named
    from senas_bench.spaces.drawing import draw as drawing

    atomic_write(out, to_bytes(drawing(archs[0].space, archs, network.skeleton), out.suffix[1:]))
    print(f"{len(archs)} archs of {archs[0].space}; written: {out}")
    if space_named(network.space).draw_over is not None:
        print(f"network: {network}")


def cost(
    archs: Annotated[
        list[str],
        typer.Argument(
            help="Arch strings, files of archs, indices in nasbench201 (0 to 15,624), or Genotype(...) of DARTS."
        ),
    ],
    space: SpaceOption = "nasbench201",
    preset: NetworkPresetOption = None,
    dataset: NetworkDatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """FLOPs (multiply-adds, millions) and parameters of stand-alone networks, and which network that is."""
    from senas_bench.api.archs import archs_of, network_of

    found = archs_of(archs, space)
    network = network_of(found[0].space, preset, dataset)
    rows = network.costs(found)
    if as_json:
        rows = [{**row, "network": str(network)} for row in rows]
        print_json(rows if len(rows) > 1 else rows[0])
        return
    for row in rows:
        print(f"{row['label']}: {row['arch']}" if "label" in row else row["arch"])
        print(f"{row['flops_m']:.6f} MFLOPs, {row['params'] / 1e6:.6f} M parameters")
    print(f"network: {network}")
