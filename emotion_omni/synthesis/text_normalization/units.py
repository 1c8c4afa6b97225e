"""Units of measure after a number → words: "3.5 kg", "98.6°F", "6'2\"", "120 km/h"."""

from __future__ import annotations

import re

from emotion_omni.synthesis.text_normalization.money import counted
from emotion_omni.synthesis.text_normalization.numbers import NUMBER, cardinal
from emotion_omni.synthesis.text_normalization.rules import Rules, any_of

_UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "µm": "micrometer", "nm": "nanometer",
    "mi": "mile", "yd": "yard", "yds": "yard", "ft": "foot/feet", "ft.": "foot/feet", "in.": "inch/inches",
    "nmi": "nautical mile", "kg": "kilogram", "g": "gram", "mg": "milligram", "µg": "microgram", "mcg": "microgram",
    "lb": "pound", "lbs": "pound", "lb.": "pound", "lbs.": "pound", "oz": "ounce", "oz.": "ounce", "kgs": "kilogram",
    "kms": "kilometer", "gm": "gram", "gms": "gram", "l": "liter", "L": "liter", "ml": "milliliter",
    "mL": "milliliter", "cl": "centiliter", "dl": "deciliter", "dL": "deciliter", "gal": "gallon", "gal.": "gallon",
    "qt": "quart", "fl oz": "fluid ounce", "fl. oz.": "fluid ounce", "tsp": "teaspoon", "tsp.": "teaspoon",
    "tbsp": "tablespoon", "tbsp.": "tablespoon", "s": "second", "sec": "second", "secs": "second", "sec.": "second",
    "secs.": "second", "ms": "millisecond", "µs": "microsecond", "min": "minute", "mins": "minute", "min.": "minute",
    "mins.": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "hr.": "hour", "hrs.": "hour", "wk": "week",
    "wks": "week", "yr": "year", "yrs": "year", "yr.": "year", "yrs.": "year", "mos": "month", "mos.": "month",
    "wks.": "week", "y/o": "year old/years old", "yo": "year old/years old", "mph": "mile per hour/miles per hour",
    "kph": "kilometer per hour/kilometers per hour", "km/h": "kilometer per hour/kilometers per hour",
    "kmh": "kilometer per hour/kilometers per hour", "mpg": "mile per gallon/miles per gallon", "rpm": "R P M/R P M",
    "bpm": "beat per minute/beats per minute", "fps": "frame per second/frames per second", "dpi": "D P I/D P I",
    "ppm": "part per million/parts per million", "psi": "P S I/P S I", "kB": "kilobyte", "KB": "kilobyte",
    "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte", "kb": "kilobyte", "mb": "megabyte",
    "gb": "gigabyte", "tb": "terabyte", "Mb": "megabit", "Gb": "gigabit",
    "Mbps": "megabit per second/megabits per second", "Gbps": "gigabit per second/gigabits per second",
    "kbps": "kilobit per second/kilobits per second", "Mbit/s": "megabit per second/megabits per second",
    "Hz": "hertz/hertz", "kHz": "kilohertz/kilohertz", "khz": "kilohertz/kilohertz", "KHz": "kilohertz/kilohertz",
    "MHz": "megahertz/megahertz", "GHz": "gigahertz/gigahertz", "hz": "hertz/hertz", "dB": "decibel", "db": "decibel",
    "W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour", "MWh": "megawatt hour",
    "Wh": "watt hour", "V": "volt", "kV": "kilovolt", "mV": "millivolt", "mAh": "milliamp hour", "mA": "milliamp",
    "Ah": "amp hour", "cal": "calorie", "kcal": "kilocalorie", "kJ": "kilojoule", "J": "joule", "N": "newton",
    "Nm": "newton meter", "Pa": "pascal", "hPa": "hectopascal", "kPa": "kilopascal",
    "mmHg": "millimeter of mercury/millimeters of mercury", "hp": "horsepower/horsepower",
    "HP": "horsepower/horsepower", "px": "pixel", "MP": "megapixel", "ha": "hectare", "ac": "acre",
    "sq ft": "square foot/square feet", "sq. ft.": "square foot/square feet", "sqft": "square foot/square feet",
    "sq m": "square meter", "sq km": "square kilometer", "sq mi": "square mile", "cu ft": "cubic foot/cubic feet",
    "m²": "square meter", "km²": "square kilometer", "cm²": "square centimeter", "mm²": "square millimeter",
    "ft²": "square foot/square feet", "m2": "square meter", "km2": "square kilometer", "mi²": "square mile",
    "m³": "cubic meter", "cm³": "cubic centimeter", "m3": "cubic meter", "cc": "c c/c c",
    "°C": "degree Celsius/degrees Celsius", "°F": "degree Fahrenheit/degrees Fahrenheit",
    "° C": "degree Celsius/degrees Celsius", "° F": "degree Fahrenheit/degrees Fahrenheit",
    "ºC": "degree Celsius/degrees Celsius", "°c": "degree Celsius/degrees Celsius",
    "°f": "degree Fahrenheit/degrees Fahrenheit", "degC": "degree Celsius/degrees Celsius",
    "degF": "degree Fahrenheit/degrees Fahrenheit", "°K": "kelvin/kelvin", "°": "degree", "pt": "point",
    "pts": "point", "pct": "percent/percent", "pct.": "percent/percent", "ct": "carat", "doz": "dozen/dozen",
    "doz.": "dozen/dozen", "dz": "dozen/dozen", "pcs": "piece", "pc": "piece", "%": "percent/percent",
    "st lb": "stone", "kn": "knot", "pkg": "package", "pkgs": "package", "kBq": "kilobecquerel",
    "mSv": "millisievert", "mol": "mole", "K": "K/K", "kt": "knot", "kts": "knot", "lx": "lux/lux", "lm": "lumen",
}  # fmt: skip
_RATES = {
    "s": "second", "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "hour": "hour", "day": "day",
    "d": "day", "week": "week", "wk": "week", "month": "month", "mo": "month", "year": "year", "yr": "year",
    "kg": "kilogram", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter", "dL": "deciliter",
    "dl": "deciliter", "m": "meter", "m²": "square meter", "m³": "cubic meter", "m3": "cubic meter",
    "km": "kilometer", "100 km": "hundred kilometers", "person": "person", "s²": "second squared",
    "cm²": "square centimeter", "g": "gram", "gal": "gallon", "lb": "pound",
}  # fmt: skip
_EITHER_CASE = {name.lower(): unit for name, unit in _UNITS.items() if len(name.rstrip(".")) > 2}
_AMOUNT = rf"(?P<amount>(?<![\w./])(?:{NUMBER}))"
_UNIT = (
    rf"(?:(?P<unit>{any_of(name for name in _UNITS if name != 'K')})"
    rf"|(?P<any>(?i:{any_of(name for name in _EITHER_CASE if name not in ('cal', 'mos', 'pts', 'doz'))})))"
)
_AFTER_WORDS = (
    "km",
    "cm",
    "mm",
    "kg",
    "mg",
    "lb",
    "lbs",
    "oz",
    "ft",
    "hr",
    "hrs",
    "mph",
    "km/h",
    "kWh",
    "ml",
    "GB",
    "MB",
    "TB",
)
_INCHES = (
    r"(?=[.,;:!?)]|\s*$|\s(?:long|tall|wide|deep|high|thick|of (?:rain|snow)|by|x|×|in diameter|screens?"
    r"|monitors?|TVs?|and)\b)"
)
_SCALE = r"(?P<scale>\s?(?:thousand|million|billion|trillion))?"


def _fraction_of_unit(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]} {counted(unit_name(match), '2' if match[1] else '1')}"


def _follows_article(match: re.Match[str]) -> bool:
    """ "A 5 kg bag", unlike "5 kg", has the unit in the singular."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    return bool(
        re.search(r"\b[Aa]n?\s$", before)
        or re.match(r"\s(?:dash|race|sprint|hurdles|freestyle|pizza|walk|screen|monitor|TV|bag|drive)\b", after)
    )


def unit_name(match: re.Match[str]) -> str:
    return _UNITS[match["unit"]] if match["unit"] else _EITHER_CASE[match["any"].lower()]


def _unit(match: re.Match[str]) -> str:
    amount, following = match["amount"].replace(",", ""), match.string[match.end() :]
    count = "1" if match["hyphen"] or _follows_article(match) else amount
    if match["scale"]:
        count = "2"
    words = f"{cardinal(amount)}{match['scale'] or ''} {counted(unit_name(match), count)}"
    if match["rate"]:
        words += f" per {_RATES[match['rate']]}"
    abbreviated = (match["unit"] or match["any"]).endswith(".")
    return words + ("." if abbreviated and re.match(r"\s*$|\s+[A-Z]", following) else "")


def _inches(match: re.Match[str]) -> str:
    """A double quote after a number: inches, unless it closes a quotation."""
    before = match.string[: match.start()]
    if before.count('"') % 2:
        return match[0]
    return f"{match[1]} {counted('inch/inches', '1' if _follows_article(match) else match[1])}"


def _feet_and_inches(match: re.Match[str]) -> str:
    return (
        f"{cardinal(match[1])} {'foot' if match[1] == '1' else 'feet'} {cardinal(match[2])}"
        f" {counted('inch/inches', match[2])}"
    )


def _angle(match: re.Match[str]) -> str:
    words = f"{cardinal(match[1])} {counted('degree', match[1])}"
    for number, name in ((match[2], "minute"), (match[3], "second")):
        words += f" {cardinal(number)} {counted(name, number)}" if number else ""
    points = {"N": " north", "S": " south", "E": " east", "W": " west"}
    return words + points.get(match[4] or "", "")


def _dimensions(match: re.Match[str]) -> str:
    if re.match(r"\s*=", match.string[match.end() :]):
        return " times ".join(number for number in match.groups() if number)
    return " by ".join(number for number in match.groups() if number)


read_units = Rules(
    (
        (r"(?<![\w)\]%'\"])(?<!\d )[-–](?=\d)", "minus "),
        (r"\b(\d{1,2}) ?st (?=\d{1,2} ?lb)", r"\1 stone "),
        (rf"(?<![\w.])({NUMBER})\s?[x×]\s?({NUMBER})(?:\s?[x×]\s?({NUMBER}))?(?![\d%])", _dimensions),
        (rf"(?<![\w./])((?:\d+ )?)(\d{{1,2}}/\d{{1,2}})[ -]?{_UNIT}(?!\w)", _fraction_of_unit),
        (r"(?<![\w.'])(\d{1,3}(?:\.\d+)?)°\s?(?:(\d{1,2})'\s?)?(?:(\d{1,2}(?:\.\d+)?)\"\s?)?([NSEW])\b", _angle),
        (r"(?<![\w.'])(\d)'\s?(\d{1,2})(?:\"|''|\b(?!'))(?!\d|s\b)", _feet_and_inches),
        (r"(?<![\w.'])(\d{1,3})'(?=\s(?:tall|long|wide|deep|high|by|x)\b)", r"\1 ft"),
        (r"(?<![\w.'])(\d{1,3})'(?=\s(?:fence|ladder|wall|pole|board|tree|ceiling|drop|table|snake)\b)", r"\1-ft"),
        (r"(?<![\w.'])(\d+(?:\.\d+)?)\"(?![\w])", _inches),
        (
            rf"(?<![\w.])(\d+(?:\.\d+)?)(-| ?)in\.?{_INCHES}(?<! in\.)",
            lambda m: f"{m[1]} {counted('inch/inches', '1' if m[2] == '-' else m[1])}",
        ),
        (r"(\d (?:ft|feet|foot)\.?,? )(\d{1,2}) ?in\b", lambda m: f"{m[1]}{m[2]} {counted('inch/inches', m[2])}"),
        (r"\b(\d+)\s?h\s?(\d{1,2})\s?(?:m|min|mins)\b", r"\1 hr \2 min"),
        (r"\b(\d+)\s?m(?:in)?\s?(\d{1,2})\s?s(?:ec)?\b", r"\1 min \2 sec"),
        (rf"(?<![\w.])({NUMBER})\s?[-–]\s?(?={NUMBER}\s?-?{_UNIT}(?!\w))", lambda m: f"{cardinal(m[1])} to "),
        (
            (
                rf"{_AMOUNT}{_SCALE}(?P<hyphen>-)?\s?{_UNIT}(?:\s?(?:/"
                rf"|per )\s?(?P<rate>{any_of(_RATES)}))?(?![\w²³])(?!'[a-z])(?<!\d -)"
            ),
            _unit,
        ),
        (rf"(?<![\w.])({NUMBER})\s?sq\.?\b", lambda m: f"{m[1]} square"),
        (rf"\b(half an? |quarter |per |a )({any_of(_AFTER_WORDS)})\b", lambda m: m[1] + counted(_UNITS[m[2]], "1")),
        (rf"\b(and a half )({any_of(_AFTER_WORDS)})\b", lambda m: m[1] + counted(_UNITS[m[2]], "2")),
    )
)
