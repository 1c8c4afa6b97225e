"""HTML, Markdown and emoticons → the text that they mark up."""

from __future__ import annotations

import html
import re

from emotion_omni.synthesis.text_normalization.rules import Rules

_INLINE_TAGS = (
    "a|abbr|b|big|cite|code|del|em|emphasis|font|i|img|ins|kbd|mark|prosody|s|say-as|small|span|strong|sub|sup|u|voice"
)
_BLOCK_TAGS = (
    "article|blockquote|body|br|break|div|footer|h[1-6]|head|header|hr|html|li|main|nav|ol|p|pre|section"
    "|speak|table|tbody|td|th|thead|title|tr|ul"
)
_EMOTICON = r"[:;=][-o^']?[()\[\]dDpP/\\|*oO3]+|</?3|\^_+\^|[xX]D+|-_+-|¯\\_\(ツ\)_/¯|[oO]_[oO]|T_T"

_RULES = Rules(
    (
        (r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8}\d{0,2});", lambda match: html.unescape(match[0])),
        (r"(?s)<!--.*?-->|(?i:<(script|style)\b[^<>]*>.*?</\1>)", " "),
        (rf"(?i)</?(?:{_INLINE_TAGS})(?:\s[^<>]*)?/?>", ""),
        (rf"(?i)\s*</?(?:{_BLOCK_TAGS})(?:\s[^<>]*)?/?>\s*", "\n\n"),
        (r"\bI\s*(?:❤️?|♥️?|<3|💙|💖|💕)\s*(?=\w)", "I love "),
        (rf"(?<![\w:/])(?:{_EMOTICON})(?![\w/])", " "),
        (r"(?m)^[ \t]*(?:```.*|[-=*_]{3,})[ \t]*$", ""),  # fences and rulers
        (r"(?m)^[ \t]*#{1,6}[ \t]+(.*?)[ \t#]*$", r"\1\n\n"),  # headings
        (r"(?m)^[ \t]*>+[ \t]?(?!\d)", ""),  # quoted lines
        (r"(?m)^[ \t]*[-*•‣◦·][ \t]+(.*)$", r"\1\n\n"),  # items of a list
        (r"(?m)^[ \t]*\|(.*)\|[ \t]*$", r"\1\n\n"),  # rows of a table
        (r"!?\[([^\[\]]+)\]\((?:https?://|/|#|mailto:)[^()\s]*\)", r"\1"),
        (r"(\*{1,3}|~~)(?=\S)([^*~\n]+?)(?<=\S)\1", r"\2"),
        (r"(?<!\w)(_{1,3})(?=\S)([^_\n]+?)(?<=\S)\1(?!\w)", r"\2"),
        (r"`{1,3}([^`\n]+?)`{1,3}(?!\w)", r"\1"),
        (r"(?<=[\w)\"'%])[ \t]*\n\s*\n\s*", ". "),  # a paragraph ends a sentence
        (r"(?m)^([^\n]{1,50}[\w)\"'])[ \t]*\n[ \t]*(?=[A-Z\d])", r"\1, "),  # short lines, as in a list or a poem
        (r"\s+", " "),
    )
)


def strip_markup(text: str) -> str:
    return re.sub(r"\.\s*$", "", _RULES(text)) + ("." if re.search(r"\.\s*$", text) else "") if text else text
