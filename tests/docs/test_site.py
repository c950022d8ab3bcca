"""The documentation as a site: it builds strictly, needs no network, leaves no page out, and its pictures have alternative texts."""

from __future__ import annotations

import html.parser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docs_current
import docs_states
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


class References(html.parser.HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("img", "script", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"] or "")
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "alternate") and given.get("href"):
            self.loaded.append(given["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in a folder of its own by a process that finds no network behind its proxies."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    program = Path(sys.executable).parent / "zensical"
    done = subprocess.run(
        [program, "build", "--strict"], cwd=folder, env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "site"


def test_every_page_is_built(site: Path) -> None:
    for page in PAGES:
        inside = page.relative_to(DOCS)
        built = inside.with_name("index.html") if inside.name in ("README.md", "index.md") else inside.with_suffix(".html")
        assert (site / built).is_file(), built
    assert (site / "reference" / "analyze.schema.json").is_file()


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        references = References()
        references.feed(page.read_text(encoding="utf-8"))
        assert references.loaded
        outside = [each for each in references.loaded if re.match(r"(https?:)?//", each)]
        assert not outside, page
        if page.name != "404.html":  # its links are absolute, as it is shown under any address
            missing = [each for each in references.loaded if not (page.parent / each.partition("?")[0].partition("#")[0]).exists()]
            assert not missing, page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_page_has_a_place_in_the_navigation() -> None:
    def files(entry: object) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        inner = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
        return {name for each in inner for name in files(each)}

    configured = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    placed = files(configured["nav"])
    pages = {str(page.relative_to(DOCS)) for page in PAGES if not re.match(r"\d{4}-", page.name)}  # decisions are listed on their page
    assert placed == pages


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures_exist_and_say_what_they_show(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for alternative, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text):
        assert len(alternative) > 20, target
        assert (page.parent / target).is_file(), target


def test_decisions_are_all_listed() -> None:
    listed = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for page in (DOCS / "decisions").glob("0*.md"):
        assert f"({page.name})" in listed


def test_reference_pages_are_current() -> None:
    # in a process of its own, to which no other test has done anything
    done = subprocess.run([sys.executable, "tools/docs_current.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {*docs_current.PAGES} <= {p.name for p in (DOCS / "reference").iterdir()}


def test_the_state_diagram_has_every_state_and_every_move() -> None:
    from netlens.parsers.tcp_states import STATES

    assert set(docs_states.PLACES) == set(STATES)
    drawn = docs_states.draw()
    assert drawn.count('marker-end="url(#tip)"') == len(docs_states.edges())
    assert set(docs_states.BENDS) <= set(docs_states.edges())


def test_documentation_names_no_folder_of_a_machine() -> None:
    for page in [ROOT / "README.md", *PAGES, *(ROOT / "notebooks").glob("*.ipynb")]:
        found = re.findall(r"(?:/home/|/Users/|/root/|/work/|/tmp/)\w+", page.read_text(encoding="utf-8"))
        assert not found, page
