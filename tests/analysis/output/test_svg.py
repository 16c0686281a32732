import pytest

from senas_bench.analysis.output.svg import inline_svg


def test_ids_and_style_belong_to_their_figure(svg):
    made = inline_svg(svg(), "f1", 'a "label"', "fig8")
    assert 'id="f1-c"' in made and 'href="#f1-m"' in made and made.count("url(#f1-c)") == 2
    assert "#f1 * {stroke-linejoin: round}#f1 g, #f1 path {fill: red}" in made
    assert 'aria-label="a &quot;label&quot;"' in made and "<!--" not in made


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ("<script>1</script>", "<script>"),
        ('<path onclick="x()"/>', "onclick"),
        ('<image xlink:href="https://example.org/a.png"/>', "href"),
        ('<path style="fill: url(https://example.org)"/>', "style"),
        ("<style>@import 'x'</style>", "style"),
        ("<style>g{fill: url(x)}</style>", "style"),
        ("<foreignObject/>", "<foreignObject>"),
    ],
)
def test_a_figure_that_runs_or_loads_something_is_refused(svg, extra, what):
    with pytest.raises(ValueError, match=f"figure fig8 holds .*{what}.* `senas-bench reproduce fig8`"):
        inline_svg(svg(extra), "f1", "label", "fig8")


def test_what_is_no_svg_is_refused():
    with pytest.raises(ValueError, match="figure fig8 is no SVG"):
        inline_svg("<svg", "f1", "label", "fig8")
