"""Tables that a paper takes in: the text against strings worked out by hand, and a document that is compiled."""

import shutil
import subprocess

import pandas as pd
import pytest

from senas_bench.analysis.output.formats import Table, md_rows, write
from senas_bench.analysis.output.latex import PARAGRAPH, tex_escape, tex_file, tex_rows

LONG = "A claim that is so long that no column without lines could hold it"
FRAME = pd.DataFrame(
    {
        "method": ["se-nas+ †", "[a_b]"],
        "n": ["3", "3"],
        "tau top 10%": ["-0.023 ± 0.135", "0.1"],
        "95% interval": ["[-0.058, 0.266]", "–"],
        "archs": ["5-16", "500"],
        "where": ["R&D", "#1"],
        "none": ["–", "–"],
        "claim": [LONG, "-"],
    }
)
ROWS = rf"""{{\setlength{{\tabcolsep}}{{3pt}}\begin{{tabular}}{{lrrrr{PARAGRAPH}}}
\toprule
method & n & tau top 10\% & 95\% interval & archs & claim \\
\midrule
se-nas+ $\dagger$ & 3 & $-$0.023 $\pm$ 0.135 & [$-$0.058, 0.266] & 5--16 & {LONG} \\
{{}}[a\_b] & 3 & 0.1 & -- & 500 & - \\
\bottomrule
\end{{tabular}}}}"""


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("-0.725", "$-$0.725"),
        ("difference -0.252, [-0.461, -.043]", "difference $-$0.252, [$-$0.461, $-$.043]"),
        ("p = 1e-05", "p = 1e$-$05"),
        ("1.5-21.0", "1.5--21.0"),
        ("darts-v2, se-nas, imagenet16-120, IN16-120", "darts-v2, se-nas, imagenet16-120, IN16-120"),
        ("2026-11-29, CIFAR-10, 3-fold", "2026-11-29, CIFAR-10, 3-fold"),
        ("senas-bench --results", "senas-bench -{}-results"),
        ("a ± b – †", r"a $\pm$ b -- $\dagger$"),
        (
            r"a_b & 5% ~{x}\y|z ± <#$^",
            r"a\_b \& 5\% \textasciitilde{}\{x\}\textbackslash{}y\textbar{}z $\pm$ \textless{}\#\$\textasciicircum{}",
        ),
    ],
)
def test_escape(text, tex):
    assert tex_escape(text) == tex


def test_rows():
    assert tex_rows(FRAME, ("where",)) == ROWS


def test_file():
    text = tex_file("Table 9", FRAME, ("7% & more.", "word " * 40), ("where",), ("Of others: 5%", FRAME[["method"]]))
    head, _, rest = text.partition("{\\setlength")
    start = ["% Table 9", r"% Needs \usepackage{booktabs}. Notes:", "% - 7% & more.", "% - " + ("word " * 21).strip()]
    assert head.splitlines()[:4] == start
    assert all(line.startswith("% ") and len(line) <= 110 for line in head.splitlines())
    assert head.endswith("% - Columns left out: where, none.\n")
    assert "\\par\\medskip Of others: 5\\%\\par\\smallskip\n{\\setlength{\\tabcolsep}{3pt}\\begin{tabular}{l}\n" in rest


def test_nothing_to_show():
    assert tex_rows(FRAME[:0], ("claim",)).splitlines()[0] == r"{\setlength{\tabcolsep}{3pt}\begin{tabular}{l}"


def test_markdown_has_words_left_too():
    head, marks, *_ = md_rows(FRAME[["method", "n", "where"]]).splitlines()
    assert (head, marks) == ("| method | n | where |", "| --- | ---: | --- |")


def test_a_notebook_has_words_left_too():
    page = Table("t", FRAME[["method", "n", "where"]], {}, {"title": "T"})._repr_html_()
    assert '<td style="text-align: right">3</td><td style="text-align: left">R&amp;D</td>' in page


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_a_paper_takes_the_file_in(tmp_path):
    paper = FRAME[["method", "n"]]
    path = write(
        Table("t", FRAME, {"Notes": ["7% & more_"]}, {"title": "T_1", "rows": [{"n": 3}]}, paper, paper), tmp_path
    )[2]
    lines = [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", r"\begin{table}\centering"]
    lines += [rf"\input{{{path.relative_to(tmp_path)}}}", r"\caption{C}\end{table}", r"\end{document}"]
    (tmp_path / "paper.tex").write_text("\n".join(lines))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if "booktabs.sty' not found" in done.stdout:
        pytest.skip("this TeX has no booktabs")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
    assert not [line for line in done.stdout.splitlines() if line.startswith(("LaTeX Warning", "Missing character"))]
