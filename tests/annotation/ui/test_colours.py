"""The page's palette: every pair of tokens that carries text has the contrast of WCAG AA, in light and in dark."""

from __future__ import annotations

import re

import pytest

from annotation.ui.rate import FOLDER

PAIRS = (  # text on ground
    *(("text", ground) for ground in ("ground", "raised", "mine", "theirs", "track", "alert-soft")),
    *(("quiet", ground) for ground in ("ground", "raised")),
    *(("link", ground) for ground in ("ground", "raised")),
    ("on-accent", "accent"),
    ("on-live", "live"),
)
BORDERS = (("line", "ground"), ("alert", "alert-soft"), ("accent", "ground"), ("live", "ground"))  # 3:1, WCAG 1.4.11


def palettes() -> dict[str, dict[str, str]]:
    text = (FOLDER / "style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r"\{([^}]*--eo-ground[^}]*)\}", text)
    return {name: _tokens(block) for name, block in (("light", light), ("dark", dark))}


def _tokens(block: str) -> dict[str, str]:
    """Token → its colour, or what stands in for a variable of Gradio's."""
    return dict(re.findall(r"--eo-([\w-]+):[^;]*?(#[0-9a-f]{6})\)?;", block))


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_borders_be_seen(scheme):
    tokens = palettes()[scheme]
    weak = {
        (text, ground): round(contrast(tokens[text], tokens[ground]), 2)
        for pairs, least in ((PAIRS, 4.5), (BORDERS, 3.0))
        for text, ground in pairs
        if contrast(tokens[text], tokens[ground]) < least
    }
    assert not weak


def test_the_contrast_of_black_on_white():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
