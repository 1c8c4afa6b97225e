"""German: complete, and only words. What a rater reads is collected at its sources and on whole ways through studies.

Not covered: refusals (they are English in every study), and the pages of researchers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import raters
from raters import Clock, Rater, Screen
from starlette.testclient import TestClient

import annotation
from annotation.analysis.results import Results
from annotation.export.manifest import scale_versions
from annotation.rating import screens
from annotation.rating.routes import Studio, routes
from annotation.study import checks, lifecycle
from annotation.study.rules import STATES, Study
from annotation.study.scales import SCALES, SURVEY, Scale
from annotation.study.templates import CONSENT, STATEMENTS, TEMPLATES
from annotation.study.translate import FOLDER, languages, preferred, translated, words
from emotion_omni.types import EmotionOmniError

SOURCES = Path(annotation.__file__).parent
CLIENT = "\n".join(path.read_text(encoding="utf-8") for path in sorted((SOURCES / "rating" / "client").glob("*.js")))
COGNATES = {"Neutral", "Dominant", "Name", "Esc", "Code"}  # the same word in both languages
QUESTIONS = SCALES | {scale.name: scale for scale in SURVEY}
CODES = (
    "screen",
    "study",
    "progress",
    "assignment",
    "kind",
    "name",
    "value",
    "key",
    "url",
    "clip",
    "receipt",
    "code",
    "prefill",
    "show_if",
)
TRANSCRIPT = re.compile(r"words \d+")  # what the speakers of the test's items say
PLACEHOLDER = re.compile(r"\{\w+\}")
LOOKED_UP = re.compile(r"(?<![\w.])t\((?:\w+ \? )?'([^']+)'(?: : '([^']+)')?")  # t('…') and t(which ? '…' : '…')
LOOKED_UP_BY_NAME = re.compile(r"(?<![\w.])t\((?!'|\w+ \? ')([^,()]+)")
NAMES = {"waiting", "NOT_SAVED", "phase", "study.state", "key", "words"}  # their words: see client_words


# --- what there is to read --------------------------------------------------------------------------------------


def has_words(text: str) -> bool:
    """Not only placeholders, signs, and the single letters that name a key or a unit."""
    return bool(re.search(r"[^\W\d_]{2}", PLACEHOLDER.sub("", text)))


def schema_words() -> Iterator[str]:
    for scale in QUESTIONS.values():
        form = scale.form()
        yield from (
            form["question"],
            form["hint"],
            *form["anchors"].values(),
            *(option["words"] for option in form["options"]),
        )
    for template in TEMPLATES.values():
        yield from (template.title, *template.instructions, *(caption for caption, _ in checks.examples(template)))
        yield from (check.lesson for check in checks.checks_for(template))
    yield from (*CONSENT, *STATEMENTS, *STATES)


def studio_words() -> Iterator[str]:
    """Phases, names of clips, and the titles of the studies that the studio makes by itself."""
    yield from (*screens.PHASES, *screens.LABELS.values())
    yield from (screens.ALL_TAKEN, screens.NOTHING_LEFT, screens.TOO_FEW)
    for name in ("practice", "live_turns"):
        source = (SOURCES / "study" / f"{name}.py").read_text(encoding="utf-8")
        yield from re.findall(r'"title": "([^"]+)"', source)


def client_words() -> Iterator[str]:
    for found in LOOKED_UP.findall(CLIENT):
        yield from found
    keys = re.search(r"const KEYS = \[\n(.*?)\n\];", CLIENT, re.DOTALL)
    reasons = re.search(r"const SKIP_REASONS = \{(.*?)\};", CLIENT, re.DOTALL)
    yield from re.findall(r"'([^']+)'", keys[1])
    yield from re.findall(r": '([^']+)'", reasons[1])
    yield from re.findall(r"NOT_(?:SAVED|REACHED) = '([^']+)'", CLIENT)


def screen_words(told: Any) -> Iterator[str]:
    """Every text of a screen that is not a code, a study's own title or a transcript."""
    if isinstance(told, str):
        yield from () if TRANSCRIPT.fullmatch(told) else (told,)
    elif isinstance(told, Mapping):
        yield from (word for key, value in told.items() if key not in CODES for word in screen_words(value))
    elif isinstance(told, list):
        yield from (word for value in told for word in screen_words(value))


def without_words(form: Mapping[str, Any]) -> dict[str, Any]:
    """Of a question only what is stored and reckoned with."""
    bare = {key: form[key] for key in ("name", "kind", "required", "low", "high", "show_if")}
    options = [(option["value"], option.get("key")) for option in form["options"]]
    return bare | {"options": options, "anchors": list(form["anchors"])}


# --- whole ways through studies ---------------------------------------------------------------------------------


class Told(Rater):
    """Keeps what is told after an answer, too."""

    def submit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        result = super().submit(body)
        self.screens.append({"screen": "feedback", "text": result["feedback"]})
        return result


@dataclass
class Way:
    """All screens of one template in one language, and the table of what was answered."""

    screens: list[Screen] = field(default_factory=list)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def words(self) -> set[str]:
        return {word for word in screen_words(self.screens) if has_words(word)}


def some_items(template: str) -> list[dict[str, Any]]:
    made = [raters.item(None, template, number) for number in range(6)]
    for number, one in enumerate(made):
        one["content"]["guess"] = {"label": "sad", "probability": 0.5}
        if template == "words-voice":
            one["content"]["mode"] = TEMPLATES[template].modes[number % 3]
    return made


def go(studio: Studio, clock: Clock, template: str, language: str) -> Way:
    """From consent, over digits heard wrongly, through blocks with breaks, to the end; then a study that is paused."""
    name = f"{template}-{language}"
    raters.study(
        studio, template, some_items(template), name=name, language=language, block_size=2, guess_hidden_share=0
    )
    rater = Told(studio, name, clock)
    rater.submit(rater.filled(rater.until("sound"), values={"digits": "000"}))
    rater.walk()
    late = Told(studio, name, clock, raters.new_rater(studio, "Bea"))
    for state in ("paused", "closed"):
        lifecycle.set_state(studio.store, name, state)
        late.next()
    with studio.store.read() as view:
        table = Results.read(view, name, studio.people.key).table
    return Way(rater.screens + late.screens, table)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Way]:
    """By template and language."""
    clock = Clock()
    with raters.opened(tmp_path_factory.mktemp("home"), clock=clock) as studio:
        return {
            (template, language): go(studio, clock, template, language)
            for template in TEMPLATES
            for language in ("en", "de")
        }


@pytest.fixture(scope="module")
def read_by_raters(ways: dict[tuple[str, str], Way]) -> set[str]:
    """All that is English and can come before a rater's eyes."""
    told = {word for (_, language), way in ways.items() if language == "en" for word in way.words}
    return told | {word for word in (*schema_words(), *studio_words(), *client_words()) if has_words(word)}


# --- the file ---------------------------------------------------------------------------------------------------


def test_every_word_that_a_rater_can_see_has_a_german_form(read_by_raters: set[str]) -> None:
    assert len(read_by_raters) > 200
    assert sorted(read_by_raters - set(words("de"))) == []


def test_the_german_file_holds_nothing_that_is_used_nowhere(read_by_raters: set[str]) -> None:
    assert sorted(set(words("de")) - read_by_raters) == []


def test_no_english_form_stands_twice_in_the_german_file() -> None:
    pairs = json.loads((FOLDER / "de.json").read_text(encoding="utf-8"), object_pairs_hook=list)
    assert len(dict(pairs)) == len(pairs)


@pytest.mark.parametrize("language", languages()[1:])
def test_a_translation_keeps_the_placeholders(language: str) -> None:
    def kept(text: str) -> list[str]:
        return sorted(PLACEHOLDER.findall(text))

    assert {one: other for one, other in words(language).items() if kept(one) != kept(other)} == {}


def test_only_true_cognates_are_the_same_in_german() -> None:
    assert {one for one, other in words("de").items() if one.strip() == other.strip()} == COGNATES
    assert all(other.strip() == other and has_words(other) for other in words("de").values())


@pytest.mark.parametrize("scale", QUESTIONS.values(), ids=lambda scale: scale.name)
def test_the_answers_to_a_question_stay_apart_in_german(scale: Scale) -> None:
    form = translated(scale.form(), "de")
    shown = [*form["anchors"].values(), *(option["words"] for option in form["options"])]
    assert len(set(shown)) == len(shown)


def test_the_client_looks_words_up_by_name_only_where_their_source_is_known() -> None:
    assert set(LOOKED_UP_BY_NAME.findall(CLIENT)) == NAMES


# --- a german study ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_german_study_tells_the_same_as_an_english_one_and_all_of_it_in_german(ways: dict, template: str) -> None:
    english, german = ways[template, "en"], ways[template, "de"]
    kinds = {screen["screen"] for screen in german.screens}
    assert kinds == {"consent", "instructions", "rate", "feedback", "break", "survey", "done", "wait"}
    assert german.words == {words("de")[word] for word in english.words}
    assert german.words & english.words <= COGNATES


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_german_question_stores_the_same_values_as_the_english_one(ways: dict, template: str) -> None:
    forms = [form for screen in ways[template, "de"].screens for form in screen.get("scales", ())]
    assert {form["name"] for form in forms} >= {*TEMPLATES[template].scales, "digits", "difficulty"}
    for form in forms:
        assert without_words(form) == without_words(QUESTIONS[form["name"]].form())


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(("language", "version"), [("en", "1"), ("de", "1-de")])
def test_ratings_name_the_version_of_the_words_that_were_read(
    ways: dict, template: str, language: str, version: str
) -> None:
    table = ways[template, language].table
    assert len(table) > 0
    assert set(table["version"]) == {version}
    assert set(scale_versions(Study("t", template, language=language)).values()) == {version}


def test_german_ratings_hold_the_values_of_the_english_scale(ways: dict) -> None:
    table = ways["emotion-recognition", "de"].table
    assert set(table[table["scale"] == "primary"]["value"]) == {"neutral"}
    assert set(table[table["scale"] == "heard_from"]["value"]) == {"words"}


def test_a_speech_quality_scale_reads_as_its_german_standard_prints_it(ways: dict) -> None:
    screens = ways["empathy", "de"].screens
    form = next(form for screen in screens for form in screen.get("scales", ()) if form["name"] == "naturalness")
    assert form["question"] == "Wie natürlich klingt die Stimme der Antwort?"
    assert form["anchors"] == {"1": "Schlecht", "2": "Dürftig", "3": "Ordentlich", "4": "Gut", "5": "Ausgezeichnet"}


def test_the_models_guess_and_the_options_name_an_emotion_by_the_same_german_word(ways: dict) -> None:
    screen = next(screen for screen in ways["emotion-recognition", "de"].screens if screen.get("guess"))
    named = {option["value"]: option["words"] for option in screen["scales"][0]["options"]}
    assert screen["guess"] == {"label": "Traurig", "probability": 0.5}
    assert named["sad"] == "Traurig"
    assert screen["title"] == "Emotionserkennung"


def test_what_speakers_say_and_researchers_write_stays_as_it_is(ways: dict, tmp_path: Path) -> None:
    shown = {text["text"] for screen in ways["words-voice", "de"].screens for text in screen.get("texts", ())}
    assert shown == {"words 0", "words 2", "words 3", "words 5"}
    own = {"consent": ["You agree to our own terms."], "instructions": ["Rate as we told you."]}
    with raters.opened(tmp_path, clock=(clock := Clock())) as studio:
        raters.study(studio, language="de", **own)
        rater = Rater(studio, "s1", clock)
        screens = {wanted: rater.until(wanted) for wanted in own}
    assert {wanted: screen["text"] for wanted, screen in screens.items()} == own
    assert screens["consent"]["study"]["title"] == "A study"
    assert screens["consent"]["statements"][0] == "Ich bin mindestens 18 Jahre alt."


# --- looking up -------------------------------------------------------------------------------------------------


def test_names_and_codes_are_never_translated() -> None:
    told = {
        "name": "Sad",
        "value": "Happy",
        "words": "Happy",
        "options": [{"value": "Calm", "words": "Calm"}],
        "high": 5,
    }
    german = {
        "name": "Sad",
        "value": "Happy",
        "words": "Fröhlich",
        "options": [{"value": "Calm", "words": "Ruhig"}],
        "high": 5,
    }
    assert translated(told, "de") == german
    assert translated(told, "en") == told


def test_what_the_file_does_not_hold_stays_english() -> None:
    assert translated("Nobody has translated this.", "de") == "Nobody has translated this."


def test_a_study_in_a_language_without_a_file_is_refused_with_those_there_are() -> None:
    with pytest.raises(EmotionOmniError, match="'tlh'.*en, de") as caught:
        Study("t", "empathy", language="tlh")
    assert caught.value.code == "bad-setting"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("DE-ch", "de"),
        ("fr-FR, fr;q=0.9, de;q=0.8, en;q=0.7", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr-FR,fr;q=0.9", "en"),
        ("den,dev-Latn", "en"),  # other languages, whose codes begin alike
        ("*", "en"),
        ("", "en"),
    ],
)
def test_the_first_language_that_there_is_a_file_for_is_preferred(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def test_the_page_is_told_the_words_of_the_browsers_language(tmp_path: Path) -> None:
    with raters.opened(tmp_path) as studio:
        raters.study(studio, items=1)
        client = TestClient(routes(studio), headers={"X-Studio": "1"})
        client.post("/enter", json={"guest": True, "name": "Ann"})
        german, english = (
            client.get("/me", headers={"Accept-Language": told}).json() for told in ("de-DE,de;q=0.9", "fr")
        )
    assert (german["language"], german["texts"]) == ("de", words("de"))
    assert (english["language"], english["texts"]) == ("en", {})
    assert [(card["id"], card["title"], card["template"]) for card in german["studies"]] == [
        ("s1", "A study", "Emotionserkennung")
    ]
    assert [card["template"] for card in english["studies"]] == ["Emotion recognition"]
