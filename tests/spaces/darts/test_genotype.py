"""Tests of senas_bench.spaces.darts.genotype."""

import pytest

from senas_bench.spaces import SPACES, darts
from senas_bench.spaces.archfile import read_archs
from senas_bench.spaces.darts.genotype import genotype_from_str
from senas_bench.spaces.texts import is_genotype

NORMAL = (
    "[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)]"
)
REDUCE = (
    "[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)]"
)
V2 = f"Genotype(normal={NORMAL}, normal_concat=[2, 3, 4, 5], reduce={REDUCE}, reduce_concat=[2, 3, 4, 5])"
"""As its authors publish it."""
LINES = V2.replace("(normal=", "(\n    normal=").replace(", reduce", ",\n    # the other cell\n    reduce") + "\n"


@pytest.mark.parametrize(
    "text",
    [
        V2,
        f"  DARTS_V2 = {V2}\n",
        f"genotypes.{V2}",
        V2.replace("[2, 3, 4, 5]", "range(2, 6)"),
        V2.replace("[2, 3, 4, 5]", "(5, 4, 3, 2)"),
        f"Genotype({NORMAL}, [2, 3, 4, 5], {REDUCE}, [2, 3, 4, 5])",
        f"Genotype({NORMAL}, range(2, 6), reduce_concat=range(2, 6), reduce={REDUCE})",
        str(darts.GENOTYPES["DARTS_V2"]),
    ],
)
def test_the_published_form_is_read(text):
    assert is_genotype(text)
    assert darts.arch_from_genotype(genotype_from_str(text)) == darts.arch_from_genotype(darts.GENOTYPES["DARTS_V2"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (V2[:-1], "Python cannot read it (SyntaxError)"),
        (f"{V2}; {V2}", "one call is needed"),
        (V2.replace(f"normal={NORMAL}, ", ""), "it must have normal, normal_concat, reduce, reduce_concat, each once"),
        (V2[:-1] + ", more=[])", "each once"),
        (V2[:-1] + ", **{})", "each once"),
        (f"Genotype({NORMAL}, [2, 3, 4, 5], {REDUCE}, [2, 3, 4, 5], 6)", "each once"),
        (f"Genotype({NORMAL}, normal={NORMAL}, normal_concat=[2], reduce={REDUCE}, reduce_concat=[2])", "each once"),
        (V2.replace(NORMAL, "3"), "normal must be a list of"),
        (V2.replace(REDUCE, "[('skip_connect', '0')]"), "reduce must be a list of"),
        (V2.replace(REDUCE, "[('skip_connect', True)]"), "reduce must be a list of"),
        (V2.replace("[2, 3, 4, 5]", "[2.0]"), "normal_concat must be a list of nodes"),
        (V2.replace("[2, 3, 4, 5]", "range()"), "normal_concat must be written out"),
        (V2.replace(NORMAL, "open('made', 'w')"), "normal must be written out"),
        (V2.replace(NORMAL, "[x for x in ()]"), "normal must be written out"),
        (f"Genotype({'-' * 100_000}1)", "Python cannot read it"),
        (f"Genotype({'[' * 1_000})", "Python cannot read it"),
        ("Genotype(\0)", "Python cannot read it"),
    ],
)
def test_what_is_none_is_refused_and_never_run(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^bad genotype: ") as refused:
        genotype_from_str(text)
    message = str(refused.value)
    assert words in message and "; write Genotype(normal=[" in message and len(message) < 400 and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_long_range_fills_no_memory():
    assert len(genotype_from_str(V2.replace("[2, 3, 4, 5]", "range(1000000000000000)")).normal_concat) == 64


def test_cells_that_are_no_archs_are_refused_by_name():
    with pytest.raises(ValueError, match="normal cell concatenates nodes"):
        SPACES["darts-separate"].from_str(V2.replace("[2, 3, 4, 5]", "[4, 5, 6]"))
    with pytest.raises(ValueError, match="unknown operator 'sep_conv_7x7'"):
        SPACES["darts-separate"].from_str(V2.replace("sep_conv_3x3", "sep_conv_7x7"))


def test_each_space_says_whose_arch_it_is():
    arch = darts.arch_from_genotype(darts.GENOTYPES["DARTS_V2"])
    assert SPACES["darts-separate"].from_str(V2) == arch
    assert SPACES["darts"].from_str(V2.replace(REDUCE, NORMAL)) == arch[:14]
    with pytest.raises(ValueError, match="use darts-separate"):
        SPACES["darts"].from_str(V2)
    for space in ("nasbench201", "mobilenet", "mobilenet-g2"):
        with pytest.raises(ValueError, match=r"a Genotype\(...\) is an arch of DARTS: name space darts-separate"):
            SPACES[space].from_str(V2)


def test_a_file_of_archs_may_hold_them_over_several_lines(tmp_path):
    own = darts.arch_to_str(darts.arch_from_genotype(darts.GENOTYPES["DARTS_V1"]))
    (tmp_path / "archs.txt").write_text(f"{own}\n# second order\nV2 = {LINES}{V2}\n{own}\n")
    v1, v2 = (darts.arch_from_genotype(darts.GENOTYPES[name]) for name in ("DARTS_V1", "DARTS_V2"))
    assert [named.arch for named in read_archs(tmp_path / "archs.txt", "darts-separate")] == [v1, v2, v2, v1]
    (tmp_path / "open.txt").write_text("\nV2 = Genotype(normal=[\n(")
    with pytest.raises(ValueError, match="line 2: bad genotype: Python cannot read it"):
        read_archs(tmp_path / "open.txt", "darts-separate")
