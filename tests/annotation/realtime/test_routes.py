"""The WebSocket at /v1/realtime: its real client, who is refused, and how many."""

from __future__ import annotations

import asyncio
import base64
import json

import openai
import pytest
import websockets
from conftest import tone
from realtime_client import pcm

from annotation.realtime import routes

pytest_plugins = ("browsers",)


@pytest.fixture
def line(served) -> str:
    return served.replace("http", "ws") + "/v1/realtime"


async def first(line: str, **options) -> dict:
    async with websockets.connect(line, **options) as socket:
        return json.loads(await socket.recv())


def test_the_client_of_openai_talks_to_it(served):
    async def talk() -> tuple[str, bytes, list[str]]:
        client = openai.AsyncOpenAI(
            api_key="none", base_url=f"{served}/v1", websocket_base_url=f"{served}/v1".replace("http", "ws")
        )
        words, sound, kinds = "", b"", []
        async with client.realtime.connect(model="fake") as connection:
            audio = {"input": {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": None}}
            await connection.session.update(session={"type": "realtime", "audio": audio})
            await connection.input_audio_buffer.append(audio=pcm(tone(1.0)))
            await connection.input_audio_buffer.commit()
            await connection.response.create()
            async for event in connection:
                kinds.append(event.type)
                if event.type == "response.output_audio_transcript.delta":
                    words += event.delta
                if event.type == "response.output_audio.delta":
                    sound += base64.b64decode(event.delta)
                if event.type in ("response.done", "error"):
                    break
        return words, sound, kinds

    words, sound, kinds = asyncio.run(asyncio.wait_for(talk(), 60))
    assert "seconds of sound" in words and len(sound) == 24_000 and "emotion_omni.heard" in kinds


def test_another_site_cannot_talk_with_a_visitors_cookie(line):
    told = asyncio.run(first(line, origin="https://evil.example"))
    assert told["error"]["code"] == "forbidden"


def test_an_engine_that_is_not_offered_is_refused(line):
    async def ask() -> list[dict]:
        async with websockets.connect(f"{line}?model=omni:/etc") as socket:
            return [json.loads(await socket.recv()) for _ in range(3)]

    assert asyncio.run(ask())[-1]["error"]["code"] == "unknown-engine"


def test_lines_are_counted(line, monkeypatch):
    monkeypatch.setattr(routes, "LINES_OF_ONE", 1)

    async def two() -> tuple[dict, dict, dict]:
        async with websockets.connect(line) as socket:
            one = json.loads(await socket.recv())
            other = await first(line)
        for _ in range(50):
            again = await first(line)
            if again["type"] != "error":
                break
            await asyncio.sleep(0.1)
        return one, other, again

    one, other, again = asyncio.run(two())
    assert one["type"] == again["type"] == "session.created" and other["error"]["code"] == "full"


def test_an_example_is_served_and_no_other_file(served):
    import httpx

    assert httpx.get(f"{served}/v1/examples/1-sad.wav").headers["content-type"] == "audio/wav"
    for name in ("..%2f..%2fREADME.md", "dialogues.jsonl", "1-sad.wav%00"):
        assert httpx.get(f"{served}/v1/examples/{name}").status_code == 404
