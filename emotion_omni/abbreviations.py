"""Abbreviations that are written with a period, and how they are said. Knows no text."""

from __future__ import annotations

# Before a name. "St." and "Dr." after one are streets.
TITLES = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Mx": "mix", "Dr": "doctor", "Drs": "doctors", "Prof": "professor",
    "St": "saint", "Sts": "saints", "Ste": "sainte", "Capt": "captain", "Lt": "lieutenant", "Gov": "governor",
    "Sen": "senator", "Rep": "representative", "Rev": "reverend", "Mt": "mount", "Mts": "mounts", "Ft": "fort",
    "Pt": "point", "Pres": "president", "Gen": "general", "Col": "colonel", "Sgt": "sergeant", "Cpl": "corporal",
    "Maj": "major", "Cmdr": "commander", "Adm": "admiral", "Hon": "honorable", "Fr": "father",
    "Supt": "superintendent", "Pvt": "private", "Messrs": "messers", "Mme": "madame", "Mlle": "mademoiselle",
    "Insp": "inspector", "Det": "detective", "Msgr": "monsignor", "Amb": "ambassador",
}  # fmt: skip
WITH_PERIOD = {
    "vs": "versus", "etc": "et cetera", "approx": "approximately", "dept": "department", "depts": "departments",
    "ave": "avenue", "rd": "road", "blvd": "boulevard", "inc": "incorporated", "ltd": "limited",
    "corp": "corporation", "bros": "brothers", "jr": "junior", "sr": "senior", "esq": "esquire", "govt": "government",
    "assn": "association", "assoc": "association", "univ": "university", "dist": "district", "est": "established",
    "cf": "compare", "viz": "namely", "ca": "circa", "tel": "telephone", "ext": "extension", "avg": "average",
    "qty": "quantity", "misc": "miscellaneous", "incl": "including", "excl": "excluding", "ref": "reference",
    "max": "maximum", "temp": "temperature", "intl": "international", "natl": "national", "mgr": "manager",
    "asst": "assistant", "attn": "attention", "apt": "apartment", "bldg": "building", "eds": "editors",
    "hwy": "highway", "mtg": "meeting", "acct": "account", "addr": "address", "cont": "continued", "dir": "director",
    "encl": "enclosed", "equiv": "equivalent", "exec": "executive", "hrs": "hours", "mins": "minutes",
    "secs": "seconds", "yrs": "years", "wks": "weeks", "lbs": "pounds", "pkg": "package", "tbsp": "tablespoons",
    "tsp": "teaspoon", "cert": "certificate", "min": "minimum", "vols": "volumes", "ms": "miz",
}  # fmt: skip
# With a period before a number only: "No. 5"
BEFORE_NUMBER = {
    "no": "number", "nos": "numbers", "vol": "volume", "vols": "volumes", "ch": "chapter", "chap": "chapter",
    "fig": "figure", "figs": "figures", "sec": "section", "art": "article", "pp": "pages", "pg": "page", "p": "page",
    "eq": "equation", "ex": "example", "ver": "version", "op": "opus", "apt": "apartment", "rm": "room",
    "ext": "extension", "tel": "telephone", "ca": "circa", "pt": "part", "ste": "suite", "fl": "floor",
    "approx": "approximately", "max": "maximum", "min": "minimum", "par": "paragraph", "bldg": "building",
    "ph": "phone", "lvl": "level", "sc": "scene", "est": "established",
}  # fmt: skip
