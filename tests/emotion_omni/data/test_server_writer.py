import json
import threading
from dataclasses import replace

import chat_server
import pytest

from emotion_omni.data.dialogue import NoText
from emotion_omni.data.plan import CorpusPlan, ServerWriter
from emotion_omni.data.response_cache import ResponseCache
from emotion_omni.data.scenarios import scenarios
from emotion_omni.data.server_writer import ChatWriter, Pace
from emotion_omni.types import EmotionOmniError

SCENARIO = replace(next(scenarios(CorpusPlan(dialogues=1))), kind="plain", emotion="sad", turns=1, cue="")
TURN = {
    "text": "They gave my desk to somebody else.",
    "emotion": "sad",
    "intensity": 1.0,
    "reply": "Your own desk, and nobody asked. Where do you sit now?",
    "reply_emotion": "calm",
    "strategy": ["ask"],
    "news": "bad",
}


@pytest.fixture
def server():
    with chat_server.serve() as state:
        state.write = lambda body: iter([json.dumps({"turns": [TURN]})])
        yield state


def writer(server, tmp_path, **settings):
    return ChatWriter(ServerWriter(server.url, "m", retries=0, **settings), ResponseCache(tmp_path / "cache"))


def test_a_dialogue_is_written_once_and_then_comes_from_the_cache(server, tmp_path):
    found = writer(server, tmp_path).write(SCENARIO)
    assert found.turns[0].reply == TURN["reply"] and found.source == "server:m" and len(server.requests) == 1
    again = writer(server, tmp_path)
    assert again.write(SCENARIO) == found and len(server.requests) == 1 and not again.tokens
    assert server.requests[0]["response_format"]["type"] == "json_schema"


def test_a_server_that_knows_no_schema_is_asked_without(server, tmp_path):
    server.statuses, server.error = [400], {"error": {"message": "response_format is not supported"}}
    assert writer(server, tmp_path).write(SCENARIO).turns and "response_format" not in server.requests[-1]


def test_thoughts_and_fences_around_the_object_are_left_out(server, tmp_path):
    server.write = lambda body: iter(["<think>{hm}</think>```json\n", json.dumps({"turns": [TURN]}), "\n```"])
    assert writer(server, tmp_path).write(SCENARIO).turns[0].text == TURN["text"]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("no idea", "not JSON"),
        (json.dumps({"turns": []}), "0 turns, not 1"),
        (json.dumps({"turns": [TURN | {"emotion": "happy"}]}), "tone is happy, not sad"),
        (json.dumps({"turns": [TURN | {"emotion": "blue"}]}), "emotion 'blue'"),
        (json.dumps({"turns": [TURN | {"reply": "No."}]}), "reply of 1 words"),
        (json.dumps({"turns": [TURN | {"strategy": ["hug"]}]}), "strategy"),
        (json.dumps({"turns": [TURN | {"intensity": True}]}), "intensity True"),
    ],
)
def test_what_has_the_wrong_form_is_asked_again_and_then_given_up(server, tmp_path, answer, fault):
    server.write = lambda body: iter([answer])
    with pytest.raises(NoText, match=fault):
        writer(server, tmp_path, attempts=2).write(SCENARIO)
    assert len({body["seed"] for body in server.requests}) == len(server.requests) == 2


def test_a_server_that_is_away_is_no_rejection(server, tmp_path):
    server.status = 500
    with pytest.raises(EmotionOmniError) as caught:
        writer(server, tmp_path).write(SCENARIO)
    assert caught.value.code == "server" and not isinstance(caught.value, NoText)


def test_a_set_shares_one_sentence_also_when_written_at_once(server, tmp_path):
    said = iter(f"It is sentence number {number} now." for number in range(9))

    def answer(body):
        task = body["messages"][-1]["content"]
        if task.startswith("Write one sentence"):
            return iter([next(said)])
        return iter(
            [json.dumps({"turns": [TURN | {"text": json.loads(task.split("exactly: ")[1].split(". It is")[0])}]})]
        )

    server.write = answer
    writes, found = writer(server, tmp_path), []
    rows = [replace(SCENARIO, kind="contrast", group="g", seed=seed) for seed in range(4)]
    threads = [threading.Thread(target=lambda row=row: found.append(writes.write(row))) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.turns[0].text for one in found} == {"It is sentence number 0 now."} and len(found) == 4


def test_transcripts_are_rewritten(server, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "the train left without me"}\n')
    writer(server, tmp_path, transcripts=str(path)).write(SCENARIO)
    assert "the train left without me" in server.requests[0]["messages"][-1]["content"]
    path.write_text("{}\n")
    with pytest.raises(EmotionOmniError, match="no line with 'text'"):
        writer(server, tmp_path, transcripts=str(path))


def test_a_damaged_answer_is_asked_for_again(server, tmp_path):
    writer(server, tmp_path).write(SCENARIO)
    (file,) = (tmp_path / "cache").rglob("*.json")
    file.write_text('{"answer"')
    writer(server, tmp_path).write(SCENARIO)
    assert len(server.requests) == 2


def test_the_pace_spreads_calls(monkeypatch):
    from emotion_omni.data import server_writer

    waited = []
    monkeypatch.setattr(server_writer.time, "monotonic", lambda: 10.0)
    monkeypatch.setattr(server_writer.time, "sleep", waited.append)
    pace = Pace(30)
    for _ in range(3):
        pace.wait()
    assert waited == [0, 2, 4]
