"""One grammar of engine names, and no path where people see a name."""

from __future__ import annotations

import shutil

import pytest
from engine_contract import fingerprint

from emotion_omni import engine
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.engine import EngineName
from emotion_omni.recognition import speech_emotion
from emotion_omni.response import guard, smollm2_responder
from emotion_omni.synthesis import g2p
from emotion_omni.types import EmotionOmniError, Turn


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in (engine.HUB, engine.CHECKPOINT, engine.CASCADE, engine.LLM_URL, engine.LLM_MODEL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engine, "_sources", {})


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("embedded", EngineName("embedded")),
        ("embedded:runs/mine", EngineName("embedded", "runs/mine")),
        ("hub", EngineName("hub")),
        ("hub:light", EngineName("hub", "light")),
        ("cascade", EngineName("cascade")),
        ("cascade:C:/mine.yaml", EngineName("cascade", "C:/mine.yaml")),
        ("llm:qwen2.5:7b", EngineName("llm", "qwen2.5:7b")),
        ("llm:Qwen/Qwen2.5-7B-Instruct", EngineName("llm", "Qwen/Qwen2.5-7B-Instruct")),
        ("omni", EngineName("omni")),
        ("omni:user/one@main", EngineName("omni", "user/one@main")),
        ("fake", EngineName("fake")),
    ],
)
def test_every_form_is_parsed_and_written_back(name, parsed):
    assert engine.parse(name) == parsed and str(parsed) == name


@pytest.mark.parametrize("name", ["", "loud", "embeded", "fake:x", "hub:default", "omni:", "cascade:", "Hub", " hub"])
def test_another_name_is_refused_with_the_grammar(name):
    with pytest.raises(EmotionOmniError, match="cascade:FILE") as caught:
        engine.load(name)
    assert caught.value.code == "unknown-engine"


def test_a_checkpoint_goes_with_omni_and_embedded():
    assert engine.parse("omni", "mine") == EngineName("omni", "mine")
    assert engine.parse("embedded", "mine") == EngineName("embedded", "mine")
    for name in ("fake", "hub", "cascade", "omni:other", "embedded:other"):
        with pytest.raises(EmotionOmniError, match="takes no other checkpoint"):
            engine.parse(name, "mine")


def test_the_environment_names_the_default(monkeypatch, tmp_path):
    (tmp_path / "mine.yaml").write_text("device: cpu")
    assert engine.default() == "embedded"
    monkeypatch.setenv(engine.HUB, "light")
    assert engine.default() == "hub"
    monkeypatch.setenv(engine.CASCADE, str(tmp_path / "mine.yaml"))
    assert engine.default() == "cascade"
    monkeypatch.setenv(engine.CASCADE, "hub:light")
    assert engine.default() == "hub:light"
    monkeypatch.setenv(engine.CHECKPOINT, "mine")
    assert engine.default() == "omni:mine"


def test_a_public_name_holds_no_folder_and_still_loads(monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.yaml").write_text("device: cpu")
    loaded = []
    monkeypatch.setattr(engine, "_cascade", loaded.append)
    monkeypatch.setattr(engine, "_omni", loaded.append)
    for name, shown in (
        (f"cascade:{tmp_path}/mine.yaml", "cascade:mine"),
        (f"embedded:{tmp_path}/mine/", "embedded:mine"),
        (f"omni:{tmp_path}/mine", "omni:mine"),
        ("omni:user/one", "omni:user/one"),
        ("hub:light", "hub:light"),
    ):
        assert engine.public(name) == shown
        engine.load(shown)
    assert loaded == [
        EngineName("cascade", f"{tmp_path}/mine.yaml"),
        EngineName("embedded", f"{tmp_path}/mine/"),
        f"{tmp_path}/mine",
        "user/one",
        EngineName("hub", "light"),
    ]


def test_presets_have_their_names(monkeypatch):
    loaded = []
    monkeypatch.setattr(CascadeEngine, "load", lambda config, name: loaded.append((name, config.responder.kind)))
    kinds = {"embedded": "qwen2", "embedded-small": "smollm2", "hub": "transformers", "hub:light": "transformers"}
    for name in kinds:
        engine.load(name)
    assert dict(loaded) == kinds


@pytest.fixture(scope="module")
def own_parts(tmp_path_factory):
    """A folder with all our part weights, the head's as a release before this one wrote them."""
    folder = tmp_path_factory.mktemp("checkpoints") / "mine"
    folder.mkdir()
    for part in (speech_emotion, smollm2_responder, guard, g2p):
        shutil.copy(part.SHIPPED, folder)
    return folder


@pytest.mark.slow
def test_embedded_answers_alike_from_a_folder_of_its_own_weights(embedded, own_parts, spoken):
    ours = engine.load(f"embedded:{own_parts}")
    assert ours.name == "embedded:mine"
    assert fingerprint(ours.respond(Turn(spoken))) == fingerprint(embedded.respond(Turn(spoken)))


@pytest.mark.parametrize("name", ["speech_emotion", "responder", "guard", "g2p"])
def test_a_file_of_something_else_is_refused_by_its_name(embedded, own_parts, tmp_path, name):
    other = "responder" if name == "guard" else "guard"
    shutil.copy(own_parts / f"{other}.safetensors", tmp_path / f"{name}.safetensors")
    with pytest.raises(EmotionOmniError, match=rf"{name}\.safetensors") as caught:
        engine.load("embedded", str(tmp_path))
    assert caught.value.code == "checkpoint" and str(tmp_path) not in str(caught.value)


def test_a_server_in_the_environment_is_offered_under_the_name_of_its_model(monkeypatch):
    assert not any(name.startswith("llm") for name in engine.offered())
    monkeypatch.setenv(engine.LLM_URL, "http://127.0.0.1:1/v1")
    assert engine.default() == "embedded"  # no model is named
    monkeypatch.setenv(engine.LLM_MODEL, "qwen2.5:7b")
    assert engine.default() == "llm:qwen2.5:7b" and "embedded" in engine.offered()
    monkeypatch.setenv(engine.CHECKPOINT, "mine")
    assert engine.default() == "omni:mine" and "llm:qwen2.5:7b" in engine.offered()


def test_the_name_that_ratings_store_holds_the_model(monkeypatch, tmp_path):
    loaded = []
    monkeypatch.setattr(CascadeEngine, "load", lambda config, name: loaded.append((name, config.responder.model)))
    monkeypatch.setenv(engine.LLM_URL, "http://127.0.0.1:1/v1")
    engine.load("llm:qwen2.5:7b")
    monkeypatch.setenv(engine.LLM_MODEL, str(tmp_path))
    engine.load("llm")
    assert loaded == [("llm:qwen2.5:7b", "qwen2.5:7b"), (f"llm:{tmp_path.name}", str(tmp_path))]
    assert engine.default() == "llm"  # no path
