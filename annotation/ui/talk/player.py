"""Playback of the reply in the browser: pieces play without a gap as they arrive, and stop at once.

A ``gr.HTML`` component whose value is a message to its script. The pieces are WAV files inside the message: nothing
is written to disk, no ffmpeg is needed, and the first sound does not wait for a streaming playlist to fill. Does not
know engines or conversations.
"""

from __future__ import annotations

import base64
import json

import gradio as gr

from emotion_omni import audio
from emotion_omni.types import Audio

_SCRIPT = """
const state = {context: null, end: 0, playing: [], turn: null, pieces: [], done: false};
const part = name => element.querySelector('.voice-' + name);  // not cached: the template may be rendered again
function context() {
  if (!state.context) state.context = new (window.AudioContext || window.webkitAudioContext)();
  if (state.context.state === 'suspended') state.context.resume();
  return state.context;
}
function show(text, speaking) {
  part('label').textContent = text;
  part('bar').classList.toggle('speaking', speaking);
  part('replay').hidden = speaking || state.pieces.length === 0;
}
function silence() {
  state.playing.forEach(node => { node.onended = null; try { node.stop(); } catch (error) {} });
  state.playing = []; state.end = 0;
}
function schedule(buffer) {
  const audio = context(), node = audio.createBufferSource();
  node.buffer = buffer; node.connect(audio.destination);
  const at = Math.max(audio.currentTime + 0.02, state.end);
  node.start(at); state.end = at + buffer.duration;
  state.playing.push(node);
  node.onended = () => {
    state.playing = state.playing.filter(other => other !== node);
    if (state.playing.length === 0) show(state.done ? 'Your turn' : 'Thinking…', false);
  };
  window.emotionOmniPlayed = (window.emotionOmniPlayed || 0) + buffer.duration;
}
async function decode(wav) {
  const bytes = Uint8Array.from(atob(wav), character => character.charCodeAt(0));
  return await context().decodeAudioData(bytes.buffer);
}
let order = Promise.resolve();
function receive(message) {
  if (!message) return;
  if (message.turn !== state.turn) { silence(); state.turn = message.turn; state.pieces = []; state.done = false; }
  if (message.kind === 'stop') { silence(); state.done = true; show('Stopped', false); return; }
  if (message.kind === 'think') { show('Thinking…', false); return; }
  if (message.kind === 'clear') { state.pieces = []; state.done = true; show('Ready', false); return; }
  const fresh = message.pieces.slice(state.pieces.length);
  fresh.forEach(wav => state.pieces.push(wav));
  state.done = message.done;
  const turn = message.turn;
  order = order.then(async () => {
    for (const wav of fresh) {
      const buffer = await decode(wav);
      if (turn === state.turn && state.stopped !== turn) { schedule(buffer); show('Speaking', true); }
    }
    if (state.done && state.playing.length === 0) show('Your turn', false);
  });
}
window.emotionOmniSilence = () => { state.stopped = state.turn; silence(); show('Stopped', false); };
element.addEventListener('click', async event => {
  if (!event.target.closest('.voice-replay')) return;
  silence(); state.stopped = null; const turn = state.turn;
  for (const wav of state.pieces) { const buffer = await decode(wav); if (turn === state.turn) schedule(buffer); }
  show('Speaking', true);
});
document.addEventListener('pointerdown', () => context(), {once: true});  // browsers play only after a gesture
document.addEventListener('keydown', () => context(), {once: true});
function read() { try { receive(JSON.parse(props.value || 'null')); } catch (error) { console.warn(error); } }
watch('value', read);
read();
"""

_TEMPLATE = """
<div class="voice-bar" role="status" aria-live="polite"><span class="voice-dot" aria-hidden="true"></span>
<span class="voice-label">Ready</span><button class="voice-replay" type="button" hidden>Play again</button></div>
"""


def build() -> gr.HTML:
    return gr.HTML(
        value="null",
        html_template=_TEMPLATE,
        js_on_load=_SCRIPT,
        elem_id="voice",
        apply_default_css=False,
        show_label=False,
    )


def speaking(turn: str, pieces: list[str], done: bool) -> str:
    """A message with all pieces of the turn so far, so that a lost message does no harm: the next one contains it."""
    return json.dumps({"kind": "speak", "turn": turn, "pieces": pieces, "done": done})


def message(kind: str, turn: str) -> str:
    """``kind``: "think", "stop" or "clear"."""
    return json.dumps({"kind": kind, "turn": turn})


def encoded(piece: Audio) -> str:
    return base64.b64encode(audio.wav_bytes(piece)).decode("ascii")
