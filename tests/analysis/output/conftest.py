import pytest

SVG = (
    '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n'
    '<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9" xmlns="http://www.w3.org/2000/svg">'
    '<metadata><a href="http://example.org"/></metadata><!-- x -->'
    '<defs><style type="text/css">*{{stroke-linejoin: round}} g, path{{fill: red}}</style>'
    '<clipPath id="c"><rect width="9" height="9"/></clipPath><path id="m" d="M0 0"/></defs>'
    '<g id="g" clip-path="url(#c)" style="fill: none; clip-path: url(#c)"><use xlink:href="#m"/>{extra}</g></svg>'
)


@pytest.fixture
def svg():
    """A small figure file, with more drawn in it."""
    return lambda extra="": SVG.format(extra=extra)
