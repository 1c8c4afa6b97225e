"""What is left: symbols → words, punctuation → the marks that a voice heeds."""

from __future__ import annotations

from emotion_omni.synthesis.text_normalization.rules import Rules

read_symbols = Rules(
    (
        (r"\b(and)/(or)\b", r"\1 \2"),
        (r"\bAT&T\b", "A T and T"),
        (r"(?<=\b[A-Z])&(?=[A-Z]\b)", " and "),
        (r"\b([CFJ])#", r"\1 sharp"),
        (r"(?<=\b[A-F])\+(?=[\s.,!?;:]|$)", " plus"),
        (r"(?<=\b[A-F])-(?=[\s.,!?;:]|$)", " minus"),
        (r"&{2,}", " and "),
        (r"(?<=[\w:])\\(?=\s?\w)", " backslash "),
        (r"\+\+", " plus plus "),
        (r"<=>|<->", " if and only if "),
        (r"-{1,2}>|=>", " to "),
        (r"<-{1,2}", " from "),
        (r"!=", " is not equal to "),
        (r">=", " is greater than or equal to "),
        (r"<=", " is less than or equal to "),
        (r"={2,}", " equals "),
        (r"<{2,}|>{2,}", " "),
        (r"(?<=[a-z])/(?=[a-z])", " or "),
        (r"(?<=\w)\s?/\s?(?=\w)", " "),
        (r"(?<=\w) ?~ ?(?=\w)", " to "),
        (r"~(?= ?\w)", " about "),
        (
            (
                r"#(?= ?(?:[a-z]+ )*(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen"
                r"|\w+ty|zero)\b)"
            ),
            " number ",
        ),
        (r"#", " hash "),
        (r"%", " percent"),
        (r"&", " and "),
        (r"\+", " plus "),
        (r"=", " equals "),
        (r"@", " at "),
        (r"°", " degrees "),
        (r"×", " times "),
        (r"<", " less than "),
        (r">", " greater than "),
        (r"µ", " micro "),
        (r"\$", " dollars "),
        (r"€", " euros "),
        (r"£", " pounds "),
        (r"¢", " cents "),
        (r"¥", " yen "),
        (r"₹", " rupees "),
        (r"[₽₩₺₪₴₫₦₱฿₿²³]", " "),
        (r"/(?=[a-z])", " slash "),
        (r"[\\^|_*/`]", " "),
    )
)

tidy = Rules(
    (
        (r"\s+", " "),
        (r" ?[–—]+ ?| -+ | -+$|^-+ |-{2,}", ", "),
        (r"(?<!\w)-+|-+(?!\w)", " "),
        (r"(?<![()\[\]{}]) ?[()\[\]{}]+ ?(?![ ()\[\]{}])(?=[.,!?;:])", ""),
        (r" ?[()\[\]{}]+ ?", ", "),
        (r"([.!?,;:])\"", r"\1 "),
        (r"\"", " "),
        (r"(?<!\w)'+(?!\w)|(?<!\w)'+(?=\w)|(?<=[.,!?;:])'+|(?<=[^s\W])'+(?!\w)", " "),
        (r"[^\w\s.,!?;:'-]", " "),
        (r"_", " "),
        (r"\s+", " "),
        (r"\s+(?=[.,!?;:])", ""),
        (r"(?<=[a-z])\.(?=[A-Z][a-z])", ". "),  # a space that was forgotten
        (r"(?<=\w)\.(?=\w)", " dot "),
        (r"(?<=\w)([,;:!?])(?=\w)", r"\1 "),
        (r"[,;:]+(?=[.!?])", ""),
        (r"([.!?])\s*[,;:]+", r"\1"),
        (r"([,;:])(?:\s*[,;:])+", r"\1"),
        (r"([.!?])(?:\s+[.!?])+", r"\1"),
        (r"([!?])[.!?]*", lambda match: "?" if "?" in match[0] else "!"),
        (r"(?<!\.)\.\.(?!\.)|\.{4,}", "..."),
        (r"^[\s,;:.!?]+(?=\w|')", ""),
        (r"[,;:]\s*$", ""),
    )
)
