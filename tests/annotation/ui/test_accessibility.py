"""axe looks at every tab, in light and in dark, on a desktop and a phone: WCAG 2.1 A and AA, nothing in our markup.

What it finds in Gradio's own elements is in KNOWN, with the rule; anything else there fails, too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hands import LOAD_MS, visit

pytest_plugins = ("browsers",)
pytestmark = pytest.mark.page

TABS = ("talk", "emotion", "empathy", "compare", "studies", "results", "people")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
KNOWN: dict[str, tuple[str, ...]] = {}  # rule → selectors of Gradio's own elements


@pytest.fixture(scope="module")
def axe() -> str:
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is in axe-playwright-python")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def found(page) -> list[str]:
    violations = page.evaluate("rules => axe.run(document, rules)", RULES)["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary'][:200]}"
        for one in violations
        for node in one["nodes"]
        if not any(known in str(node["target"]) for known in KNOWN.get(one["id"], ()))
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_tab(browser, served, axe, scheme, clip):
    page = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900}).new_page()
    visit(page, served)
    page.wait_for_selector(".talk[data-line=open]", timeout=LOAD_MS)
    page.evaluate(axe)
    faults = {}
    for tab in TABS:
        page.click(f"#tab-{tab}-button")
        page.wait_for_timeout(800)
        if tab == "talk":
            faults["talk, empty"] = found(page)
            page.set_input_files(".talk input[type=file]", str(clip))
            page.wait_for_selector(".talk-answer .talk-play", timeout=60_000)
            page.click(".talk-details summary")
            page.click("text=Not right? Correct it")
            page.click(".talk-settings summary")
        faults[tab] = found(page)
    page.context.close()
    assert {tab: one for tab, one in faults.items() if one} == {}
