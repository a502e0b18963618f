"""The HTML report: built from a real executed notebook, and opened in a real browser that counts what it asks for."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.report import execute as notebooks
from greenai_utils.report import html as reporting
from greenai_utils.report.html import ReportError, build

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHAPTER = "# A chapter\n\nThe net energy is $E_0 - P t$; see [the columns](../data/README.md)."
DRAWING = (
    "import matplotlib.pyplot as plt\nimport pandas as pd\n\nplt.plot([1, 2])\nplt.show()\n"
    "display(pd.DataFrame({'energy / J': [1.5]}))\nprint(profile)"
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small project of one notebook, executed for the profile `tiny`."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_OUTPUT", str(folder))
        patch.setattr(paths, "NOTEBOOKS", folder / "notebooks")
        patch.setattr(reporting, "DATA", folder / "data")
        for name in ("notebooks", "data"):
            (folder / name).mkdir()
        (folder / "data" / "README.md").write_text(
            "# Columns\n\nBack to [the chapter](../notebooks/00-chapter.ipynb).\n"
        )
        parameters = new_code_cell('profile = "quick"', metadata={"tags": ["parameters"]})
        cells = [new_markdown_cell(CHAPTER), parameters, new_code_cell(DRAWING)]
        nbformat.write(new_notebook(cells=cells), paths.NOTEBOOKS / "00-chapter.ipynb")
        notebooks.execute("tiny", "00-chapter", [])
        yield folder


@pytest.fixture(scope="module")
def report(work: Path) -> Path:
    return build("tiny").parent


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    reason = f"no browser among {', '.join(BROWSERS)}"
    if os.environ.get("GREENAI_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


def open_page(browser: str, page: Path, folder: Path) -> tuple[str, set[str]]:
    """Open a page, and return what it became and every address outside its files that it asked for.

    Chromium's own log of the network names who asked: a page of files has the origin `null`, the browser itself none.
    """
    log = folder / "net.json"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    words += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=10000"]
    words += [f"--user-data-dir={folder / 'browser'}", f"--log-net-log={log}", "--dump-dom", page.as_uri()]
    opened = subprocess.run([browser, *words], capture_output=True, text=True, check=True, timeout=120)
    events = json.loads(log.read_text())
    started = events["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [event.get("params", {}) for event in events["events"] if event["type"] == started]
    by_page = {each["url"] for each in asked if "url" in each and each.get("initiator") != "not an origin"}
    return opened.stdout, by_page


class Loads(HTMLParser):
    """Collects the addresses that a page loads by itself; a link that a reader may follow is none."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        wanted = {"link": "href", "use": "href", "image": "href", "object": "data"}.get(tag, "src")
        if tag == "link" and named.get("rel") in {"author", "canonical", "index", "license", "next", "prev", "search"}:
            return
        if address := named.get(wanted):
            self.addresses.append(address)


def test_pages_show_the_notebook_and_the_columns(report: Path) -> None:
    assert sorted(
        str(page.relative_to(report)) for page in report.rglob("*.html") if page.parent.name != "_static"
    ) == [
        "data/README.html",
        "genindex.html",
        "index.html",
        "notebooks/00-chapter.html",
        "search.html",
    ]
    chapter = (report / "notebooks" / "00-chapter.html").read_text()
    assert 'href="../data/README.html"' in chapter
    assert "energy / J" in chapter
    assert list((report / "_images").glob("*.png"))


@pytest.mark.parametrize("page", ["index.html", "notebooks/00-chapter.html", "data/README.html"])
def test_browser_asks_for_nothing_outside_the_report(page: str, report: Path, browser: str, tmp_path: Path) -> None:
    became, asked = open_page(browser, report / page, tmp_path)
    assert asked == set()
    assert "Green AI training compendium" in became
    if page.startswith("notebooks/"):
        assert "<mjx-container" in became  # the formula was typeset, so scripts ran and found their fonts


def test_browser_log_shows_what_a_page_asks_for(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="stylesheet" href="http://127.0.0.1:9/a.css"><script src="https://127.0.0.1:9/b.js"></script>'
        '<script>fetch("http://127.0.0.1:9/c")</script><img src="page.png">'
    )
    _, asked = open_page(browser, page, tmp_path)
    assert asked == {"http://127.0.0.1:9/a.css", "https://127.0.0.1:9/b.js", "http://127.0.0.1:9/c"}


def test_no_page_or_style_loads_from_elsewhere(report: Path) -> None:
    pages = list(report.rglob("*.html"))
    assert pages
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert [address for address in loads.addresses if re.match(r"(https?:|wss?:)?//", address)] == [], page
    styles = list(report.rglob("*.css"))
    assert styles
    for style in styles:
        loaded = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", style.read_text())
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], style


def test_built_again_only_when_a_page_has_changed(work: Path, report: Path) -> None:
    before = (report / "index.html").stat().st_mtime_ns
    assert build("tiny") == report / "index.html"
    assert (report / "index.html").stat().st_mtime_ns == before
    columns = work / "data" / "README.md"
    columns.write_text(columns.read_text() + "\nOne more line.\n")
    (report.parent / ".tiny" / "source").mkdir(parents=True)  # what a killed build leaves behind
    assert build("tiny") == report / "index.html"
    assert "One more line." in (report / "data" / "README.html").read_text()
    assert [folder.name for folder in report.parent.iterdir()] == ["tiny"]


def test_a_fault_of_a_page_is_said_and_leaves_the_report_as_it_was(work: Path, report: Path) -> None:
    columns = work / "data" / "README.md"
    good = columns.read_text()
    shown = (report / "data" / "README.html").read_bytes()
    columns.write_text(good + "\n[nowhere](nowhere.md)\n")
    try:
        with pytest.raises(ReportError, match=r"data/README\.md:\d+: WARNING: .*nowhere"):
            build("tiny")
    finally:
        columns.write_text(good)
    assert (report / "data" / "README.html").read_bytes() == shown
    assert [folder.name for folder in report.parent.iterdir()] == ["tiny"]


def test_nothing_executed_is_said(work: Path) -> None:
    with pytest.raises(InputError, match=r"none of profile 'absent'.*PROFILE=absent"):
        build("absent")
