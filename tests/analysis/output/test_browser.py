"""A page in a real browser: as wide as the window and no wider, and nothing asked of anybody."""

import html
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

from senas_bench.analysis.output import figures
from senas_bench.analysis.output.formats import Table
from senas_bench.analysis.output.report import Part, page_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--dump-dom",
)  # fmt: skip
BEGIN = "<script>var refused = 0; addEventListener('securitypolicyviolation', () => refused++)</script>"
END = """<script>addEventListener('load', () => {
document.querySelectorAll('details').forEach(one => { one.open = true })
const page = document.documentElement, box = document.querySelector('.rows')
parent.document.getElementById('seen').textContent = JSON.stringify({
  window: innerWidth, width: page.clientWidth, content: page.scrollWidth,
  box: box.clientWidth, table: box.scrollWidth, refused: refused,
  asked: performance.getEntriesByType('resource').map(one => one.name),
  background: getComputedStyle(document.body).backgroundColor,
})})</script></body>"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here to load the page in")]


@pytest.fixture(scope="module")
def page():
    """Two studies, each with a table and a figure that are wider than a telephone, long names and long words."""
    with figures.house_style():
        drawn, (axes, *_) = figures.grid(1, 3)
        axes.plot([0, 1], [0, 1])
    svg = figures.to_bytes(drawn, "svg").decode()
    columns = {f"column {i}": ["0.123 ± 0.045", "a" * 60] for i in range(12)}
    meta = {"title": "Table 3: wide", "preset": "cpu", "images": "toy", "seeds": [0], "rows": []}
    meta |= {"ground_truth": "t" * 80, "ground_truth_sha256": "ab" * 32}
    table = Table("table3", pd.DataFrame({"method": ["spos", "m" * 70], **columns}), {"Notes": ["note"]}, meta)
    row = {"id": "c", "claim": "w" * 90, "reading": "r" * 90, "where": "Fig. 8", "verdict": "holds"}
    row |= {"numbers": "9" * 120, "ours": False, "subject": "se-nas", "per_seed": []}
    judged = Table("verdicts", pd.DataFrame(), {"Notes": ["note"]}, {"title": "Does the claim hold?", "rows": [row]})
    made = {"command": "x" * 200, "commit": "c" * 40, "versions": "v", "hardware": "h" * 90, "started": "s", "runs": 1}
    made |= {"methods": ["spos"], "seeds": [0]}
    return page_html([Part("p" * 90, {"table3": table}, judged, {"table3": svg}, [made], {"fig8": "y" * 90})] * 2)


def seen(text, folder, width, dark=False):
    """What a page in a frame of that width says of itself: a window of a browser is never so narrow."""
    policy = "default-src 'none'"
    assert policy in text
    text = text.replace(policy, f"{policy}; script-src 'unsafe-inline'").replace("</title>", f"</title>{BEGIN}")
    inner = html.escape(text.replace("</body>", END))
    frame = f'<iframe srcdoc="{inner}" style="border:0;width:{width}px;height:900px"></iframe><pre id="seen"></pre>'
    (folder / "page.html").write_text(f"<!DOCTYPE html><meta charset='utf-8'>{frame}")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [BROWSER, *FLAGS, scheme, f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000"]
    done = subprocess.run([*command, (folder / "page.html").as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)[1])


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_nothing_is_wider_than_the_window_and_nothing_is_loaded(page, tmp_path, width, dark):
    found = seen(page, tmp_path, width, dark)
    assert found["window"] == found["width"] == width
    assert found["content"] <= width
    assert found["box"] < width < found["table"]  # the wide table scrolls in its box
    assert found["asked"] == [] and found["refused"] == 0
    assert found["background"] == ("rgb(22, 22, 22)" if dark else "rgb(255, 255, 255)")


def test_the_test_sees_what_is_wrong(page, tmp_path):
    wrong = page.replace("<h2>", '<p style="width:2000px">wide<img src="x.png" alt="x"></p><h2>', 1)
    found = seen(wrong, tmp_path, 400)
    assert found["content"] > 400 and found["refused"] == 1
