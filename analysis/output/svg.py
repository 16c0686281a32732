"""A figure inside a page: its ids and style rules its own, and nothing in it that runs or loads something."""

from __future__ import annotations

import re
from xml.etree import ElementTree

SVG_TAGS = ("svg", "g", "defs", "style", "path", "use", "clipPath", "rect", "image", "pattern", "text", "tspan")
"""What an inlined figure may hold; its `metadata` is dropped, anything else refused."""


def inline_svg(text: str, scope: str, label: str, name: str) -> str:
    """An SVG file as an element of a page, its ids and style rules made its own.

    Args:
        text: The file.
        scope: Id of the element around it, unique on the page: the prefix of all ids, and what its rules are cut to.
        label: What it shows, for those who cannot see it.
        name: Of the artefact, for error messages.

    Raises:
        ValueError: No SVG, or it holds elements, event handlers or references that a page on its own must not have.
    """
    again = f"draw it again with `senas-bench reproduce {name}`"
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"figure {name} is no SVG ({error}); {again}") from None
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) == "metadata"]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        if element.tag not in SVG_TAGS:
            raise ValueError(f"figure {name} holds <{element.tag}>, which no report may; {again}")
        attributes = {_local(key): value for key, value in element.items()}
        element.attrib.clear()
        element.attrib.update({key: _own(key, value, scope) for key, value in attributes.items()})
        style = (element.text or "") if element.tag == "style" else ""
        if bad := [f'{key}="{value[:40]}"' for key, value in attributes.items() if not _quiet(key, value)]:
            raise ValueError(f"figure {name} holds {bad[0]}, which runs or loads something; {again}")
        if re.search(r"[@\\]|url\(", style):
            raise ValueError(f"figure {name} holds a style that may load something; {again}")
        if style:
            element.text = _scoped(style, scope)
    root.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """A tag or attribute without its namespace, which HTML knows by itself."""
    return name.rpartition("}")[2]


def _quiet(key: str, value: str) -> bool:
    """Whether an attribute neither runs nor loads anything."""
    if key == "href":
        return re.match(r"#|data:image/(png|jpeg);base64,", value) is not None
    return not key.startswith("on") and re.search(r"url\((?!#)|\\|@", value) is None


def _own(key: str, value: str, scope: str) -> str:
    """An id, or a reference to one, with the prefix of its figure."""
    if key == "id":
        return f"{scope}-{value}"
    return f"#{scope}-{value[1:]}" if key == "href" and value[0] == "#" else value.replace("url(#", f"url(#{scope}-")


def _scoped(rules: str, scope: str) -> str:
    """Style rules that reach only into the element with the id `scope`: in a page they would reach everywhere."""
    return re.sub(
        r"([^{}]+){", lambda rule: ", ".join(f"#{scope} {part.strip()}" for part in rule[1].split(",")) + " {", rules
    )
