"""Notes of a table, as each format shows them."""

from __future__ import annotations

import pandas as pd

from senas_bench.analysis.output.formats import Table, to_text, write


def test_notes_stand_under_their_headings_and_a_heading_without_notes_is_not_shown(tmp_path):
    said = {"Verdicts": ["one leads"], "Setting": [], "Columns": ["n: seeds", "a < b"]}
    table = Table("t", pd.DataFrame({"method": ["spos"]}), said, {"title": "T", "rows": []})
    assert table.notes == ("one leads", "n: seeds", "a < b")
    assert to_text(table).endswith("\n\nVerdicts:\n- one leads\n\nColumns:\n- n: seeds\n- a < b\n")
    path = next(path for path in write(table, tmp_path) if path.suffix == ".md")
    assert path.read_text().endswith("\n\n**Verdicts**\n\n- one leads\n\n**Columns**\n\n- n: seeds\n- a < b\n")
    page = table._repr_html_()
    assert page.index("Verdicts") < page.index("Columns") < page.index("<li>n: seeds</li><li>a &lt; b</li>")
    assert "Setting" not in to_text(table) + path.read_text() + page
