"""Names of menus: promoted whole, rolled back, one version at any moment."""

from __future__ import annotations

import json
import threading

import pytest

from emotion_omni import engine
from emotion_omni.cascade import presets
from emotion_omni.checkpoint import lineage, promotion
from emotion_omni.types import EmotionOmniError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def made(folder, content: str, parent: str = lineage.SHIPPED):
    folder.mkdir(parents=True)
    (folder / "guard.safetensors").write_text(content)
    (folder / "notes.txt").write_text("private")
    (folder / "data.tsv").write_text("good\tyes\nbad\tno\n")
    return lineage.record(folder, "train guard", [folder / "data.tsv"], parent)


def test_a_lineage_says_where_weights_come_from(tmp_path):
    found = made(tmp_path / "one", "1")
    assert found.parts == ("guard",) and found.data[0].rows == 2 and found.data[0].name == "data.tsv"
    (base,) = found.base_models.values()
    name, _, revision = base.partition("@")
    assert name == "sentence-transformers/all-MiniLM-L6-v2" and len(revision) == 40
    assert lineage.read(tmp_path / "one") == found


def test_weights_that_were_changed_have_no_lineage_any_more(tmp_path):
    made(tmp_path / "one", "1")
    (tmp_path / "one" / "guard.safetensors").write_text("2")
    with pytest.raises(EmotionOmniError, match="are not those"):
        lineage.read(tmp_path / "one")


def test_without_a_lineage_nothing_is_promoted(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "guard.safetensors").write_text("1")
    with pytest.raises(EmotionOmniError, match="checkpoint record"):
        promotion.put(tmp_path / "one", "mine", "embedded")


def test_a_broken_lineage_is_refused_by_name(tmp_path):
    made(tmp_path / "one", "1")
    path = tmp_path / "one" / lineage.LINEAGE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parent": "mother"}))
    with pytest.raises(EmotionOmniError, match=r"lineage\.json.*parent is 'mother'"):
        lineage.read(tmp_path / "one")


def test_promote_and_roll_back(tmp_path):
    first = made(tmp_path / "one", "1")
    made(tmp_path / "two", "2", first.identity)
    promotion.put(tmp_path / "one", "mine", "embedded", {"crisis recall": 0.4})
    with pytest.raises(EmotionOmniError, match="one version only"):
        promotion.roll_back("mine")
    named = promotion.put(tmp_path / "two", "mine", "embedded:mine")
    assert [one.version for one in named.versions] == list(named.trail) and named.current != first.identity[:12]
    assert (named.folder / "guard.safetensors").read_text() == "2" and not (named.folder / "notes.txt").exists()
    assert promotion.roll_back("mine").current == first.identity[:12]
    assert promotion.lineage_of(promotion.get("mine"), first.identity[:12]).scores == {"crisis recall": 0.4}
    again = promotion.put(tmp_path / "two", "mine", "embedded:mine")
    assert len(again.versions) == 2 and len(again.trail) == 2


def test_a_promoted_name_is_an_engine_of_the_menu(tmp_path, monkeypatch):
    made(tmp_path / "one", "1")
    made(tmp_path / "two", "2")
    first = promotion.put(tmp_path / "one", "mine", "embedded").current
    assert "embedded:mine" in engine.offered() and engine.public("embedded:mine") == "embedded:mine"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()  # a folder that happens to have its name
    shown, config = presets.embedded_with("mine")
    assert shown == f"embedded:mine@{first}" and config.planner.weights.endswith(f"mine/{first}/guard.safetensors")
    assert engine.version("embedded:mine") == f"mine@{first}" and engine.version("embedded") == ""
    promotion.put(tmp_path / "two", "mine", "embedded")
    assert engine.version("embedded:mine") != f"mine@{first}"
    assert presets.embedded_with(f"mine@{first}")[1] == config
    with pytest.raises(EmotionOmniError, match="has no version 'abc'"):
        presets.embedded_with("mine@abc")


@pytest.mark.parametrize("name", ["../evil", "Mine", "", ".hidden", "a/b", "x" * 60])
def test_names_that_are_no_names(tmp_path, name):
    made(tmp_path / "one", "1")
    with pytest.raises(EmotionOmniError, match="is no name"):
        promotion.put(tmp_path / "one", name, "embedded")
    assert promotion.find(name) is None


def test_readers_see_one_version_or_the_other_while_it_is_promoted(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders):
        made(folder, str(number))
    promotion.put(folders[0], "mine", "embedded")
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            shown, config = presets.embedded_with("mine")
            with open(config.planner.weights) as file:
                seen.add((shown, file.read()))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(6):
        promotion.put(folders[turn % 2], "mine", "embedded")
    done.set()
    reader.join()
    assert {text for _, text in seen} <= {"0", "1"} and len({shown for shown, _ in seen}) == len(seen) <= 2


def test_what_a_killed_promotion_left_is_no_name(tmp_path, home):
    (home / "parts" / "mine" / ".new-abc").mkdir(parents=True)
    assert promotion.listed() == [] and promotion.find("mine") is None
    made(tmp_path / "one", "1")
    assert promotion.put(tmp_path / "one", "mine", "embedded").current
