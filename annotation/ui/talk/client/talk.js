// The Talk tab: the microphone, the line to the server, the loudspeaker and the conversation, and one button for all of it.

Object.assign(ICONS, { mic: 'M12 15a3.5 3.5 0 0 0 3.5-3.5v-6a3.5 3.5 0 0 0-7 0v6A3.5 3.5 0 0 0 12 15zM5.5 11.5h2a4.5 4.5 0 0 0 9 0h2a6.5 6.5 0 0 1-5.5 6.4V21h-2v-3.1a6.5 6.5 0 0 1-5.5-6.4z', stop: 'M7 7h10v10H7z', send: 'M4 12l16-8-5 16-3.5-6.5z' });
const LONGEST_SECONDS = 120, LONGEST_IN_QUEUE = 60, UNDO_SECONDS = 10, KEPT_SOUND = 130; // seconds of the microphone that are kept here
const STATES = { // the word where the eye is, what the button shows, and what it does
  off: ['', 'mic', 'Start talking'],
  opening: ['Opening the microphone', 'mic', 'Start talking'],
  listening: ['Listening', 'stop', 'Stop listening'],
  hearing: ['Listening', 'send', 'Send now'],
  recording: ['Listening', 'send', 'Send'],
  thinking: ['Thinking', 'stop', 'Stop'],
  speaking: ['Speaking', 'stop', 'Stop'],
};
let config = null;

class Talk {
  constructor(element, parts) {
    this.chosen = chosenInAddress();
    this.speaker = new Speaker(() => this.settle());
    this.microphone = new Microphone({ chunk: pcm => this.chunk(pcm), level: level => this.level(level), lost: () => { this.say('The microphone was taken away. Press the button to open it again.', true); this.enter('off'); } });
    this.line = new Line({ event: event => this.receive(event), state: state => this.lineState(state), bridge: parts && new Bridge(parts, event => this.receive(event)) });
    this.conversation = new Conversation({ correct: (turn, tone, words) => this.correct(turn, tone, words), example: name => this.example(name) });
    this.conversation.replay = recording => { this.interrupt(); this.speaker.begin(); this.speaker.play(recording.pcm, recording.hz); };
    this.state = 'off';
    this.answering = null; // id of the response that is being made
    this.draw(element);
    this.line.connect();
    this.enter('off');
    this.goOn();
    setInterval(() => this.tick(), 100);
  }

  draw(element) {
    this.button = make('button', { type: 'button', class: 'talk-main', onclick: () => this.press() });
    this.word = make('p', { class: 'talk-word', role: 'status' });
    this.time = make('span', { class: 'talk-time', 'aria-hidden': 'true' });
    this.notice = make('div', { class: 'talk-notice', role: 'alert' });
    this.undo = make('div', { class: 'talk-undo', role: 'status' });
    this.file = make('input', { type: 'file', accept: 'audio/*,video/webm,video/mp4', class: 'talk-unseen', tabindex: '-1', 'aria-label': 'A recording to send', onchange: () => { const [file] = this.file.files; this.file.value = ''; if (file) this.upload(file); } });
    this.handsfree = make('input', { type: 'checkbox', role: 'switch', checked: this.chosen.handsfree, onchange: () => { this.chosen.handsfree = this.handsfree.checked; keepInAddress(this.chosen); this.changeMode(); } });
    const save = make('button', { type: 'button', class: 'talk-button', id: 'talk-download', onclick: () => { if (this.conversation.turns.length) download(this.conversation, this.chosen); else this.say('There is nothing to download yet. Say something first.'); } }, 'Download the conversation');
    this.keep = make('input', { type: 'checkbox', role: 'switch', checked: kept.read() !== null, onchange: () => { if (this.keep.checked) kept.write(this.conversation.turns); else kept.forget(); } });
    const keeping = div('talk-row talk-keeping', save, make('label', { class: 'talk-switch' }, this.keep, span('', 'Keep its words in this browser, to go on later')));
    const dock = div('talk-dock', this.notice, this.undo, div('talk-controls',
      div('talk-side', make('button', { type: 'button', class: 'talk-button', id: 'talk-new', onclick: () => this.fresh() }, 'New'), make('button', { type: 'button', class: 'talk-button', onclick: () => this.file.click() }, 'Send a recording'), this.file),
      div('talk-center', this.button, div('talk-status', this.word, this.time)),
      div('talk-side talk-right', make('label', { class: 'talk-switch' }, this.handsfree, span('', 'Hands-free')))));
    this.root = div('talk', this.conversation.node, dock, settingsPanel(this.chosen, name => this.configure(name), keeping), para('talk-note talk-keys', kbd('R'), ' talk, or send · ', kbd('Esc'), ' stop · ', kbd('N'), ' new conversation'));
    this.root.addEventListener('dragover', event => event.preventDefault());
    this.root.addEventListener('drop', event => { event.preventDefault(); const [file] = event.dataTransfer.files; if (file) this.upload(file); });
    element.replaceChildren(this.root);
  }

  goOn() { // where the last visit to this page ended, if it was asked to keep that
    for (const { heard, plan, reply } of kept.read()?.turns ?? []) {
      const turn = this.conversation.add(heard.item_id, null);
      Object.assign(turn, { heard, plan, reply: { id: '', text: reply, pieces: [], seconds: 0, over: true } });
      this.conversation.draw(turn);
      const message = (role, text, more) => this.line.send({ type: 'conversation.item.create', item: { type: 'message', role, content: [{ type: role === 'user' ? 'input_text' : 'output_text', text, ...more }] } });
      message('user', heard.transcript);
      message('assistant', reply, { emotion_omni_heard: heard.label });
    }
  }

  // --- states

  enter(state) {
    const [word, picture, label] = STATES[state];
    this.state = state;
    this.root.dataset.state = state;
    if (this.word.textContent !== word) this.word.textContent = word;
    relabel(this.button, label, picture);
    if (state === 'recording' || state === 'hearing') this.since = performance.now();
    this.tick();
  }

  settle() { // after anything has ended: what is going on now
    if (['recording', 'opening', 'hearing'].includes(this.state)) return;
    if (this.speaker.speaking) this.enter('speaking');
    else if (this.answering) this.enter('thinking');
    else this.enter(this.microphone.open && this.isHandsFree ? 'listening' : 'off');
  }

  tick() {
    const counting = this.state === 'recording' || this.state === 'hearing';
    const seconds = counting ? Math.floor((performance.now() - this.since) / 1000) : 0;
    const shown = counting ? `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}` : '';
    if (this.time.textContent !== shown) this.time.textContent = shown;
    if (this.state === 'recording' && seconds >= this.longest) this.send();
  }

  level(level) { this.button.style.setProperty('--level', Math.min(1, Math.sqrt(level) * 2).toFixed(2)); }

  say(message, isFault = false) {
    this.notice.textContent = message ?? '';
    this.notice.classList.toggle('talk-fault', isFault);
  }

  get isHandsFree() { return this.chosen.handsfree && this.line.direct && !this.detectionFailed; }
  get longest() { return this.line.direct ? LONGEST_SECONDS - 5 : LONGEST_IN_QUEUE; }

  lineState(state) {
    this.root.dataset.line = state;
    if (state === 'lost') { this.say('The line to the server was lost. Connecting again…', true); this.answering = null; this.speaker.stop(); if (this.state === 'hearing') this.state = 'off'; this.settle(); }
    if (state === 'open') { this.say(''); this.microphone.reset(); this.configure(); }
    if (state === 'queue') { this.handsfree.checked = false; this.handsfree.disabled = true; this.say('Here answers come through a queue, so hands-free talking is off: press, speak, and press again.'); this.configure(); }
    if (state === 'lost' && this.state === 'recording') this.cancel();
  }

  // --- settings

  configure() {
    const { chosen } = this, detection = this.isHandsFree ? { type: 'semantic_vad', create_response: true, interrupt_response: true } : null;
    const session = { type: 'realtime', model: chosen.engine, output_modalities: ['audio'],
      audio: { input: { format: { type: 'audio/pcm', rate: this.microphone.hz }, turn_detection: detection }, output: { voice: chosen.voice, speed: chosen.speed } },
      emotion_omni: { seed: chosen.seed, intensity: chosen.intensity } };
    const spoken = `${this.microphone.hz} ${Boolean(detection)}`;
    if (spoken !== this.spoken) { this.spoken = spoken; this.microphone.reset(); }
    this.line.send({ type: 'session.update', session });
  }

  changeMode() {
    this.cancel();
    this.microphone.stop();
    this.configure();
    this.settle();
  }

  // --- the one button

  async press() {
    this.speaker.ready();
    this.say('');
    switch (this.state) {
      case 'off': return this.startTalking();
      case 'listening': this.microphone.stop(); return this.settle();
      case 'hearing': return this.line.send({ type: 'input_audio_buffer.commit' });
      case 'recording': return this.send();
      case 'opening': return undefined;
      default: this.interrupt(); return this.isHandsFree && this.microphone.open ? this.settle() : this.startTalking();
    }
  }

  async startTalking() {
    if (!this.microphone.open) {
      const hz = this.microphone.hz;
      this.enter('opening');
      try { await this.microphone.start(); } catch (error) {
        this.say(error.message, true);
        this.state = 'off';
        return this.settle();
      }
      if (hz !== this.microphone.hz) this.configure();
    }
    if (this.isHandsFree) { this.state = 'listening'; return this.settle(); }
    this.from = this.microphone.seconds;
    if (this.line.direct) this.line.send({ type: 'input_audio_buffer.clear' });
    return this.enter('recording');
  }

  chunk(pcm) {
    if (this.isHandsFree || (this.line.direct && this.state === 'recording')) this.line.send({ type: 'input_audio_buffer.append', audio: toBase64(pcm) });
    const needed = this.state === 'recording' ? this.from : this.state === 'hearing' ? this.speechFrom : this.microphone.seconds - 3;
    this.microphone.forget(Math.max(needed, this.microphone.seconds - KEPT_SOUND));
  }

  send() { // what was recorded by hand
    const recording = this.microphone.cut(this.from, this.microphone.seconds);
    this.microphone.stop();
    this.state = 'off';
    if (recording.pcm.length < 0.2 * recording.hz) { this.say('That was too short. Press, speak, and press again.', true); this.line.send({ type: 'input_audio_buffer.clear' }); return this.settle(); }
    this.pending = recording;
    if (this.line.direct) {
      this.line.send({ type: 'input_audio_buffer.commit' });
      this.line.send({ type: 'response.create' });
      this.awaitAnswer();
    } else this.sendWhole(recording);
    return undefined;
  }

  sendWhole(recording) {
    this.pending = recording;
    if (recording.hz !== this.microphone.hz) throw new Error('A recording is sent at the rate of the microphone.');
    this.line.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_audio', audio: toBase64(recording.pcm) }] } });
    this.line.send({ type: 'response.create' });
    this.awaitAnswer();
  }

  awaitAnswer() { this.answering = this.answering ?? 'asked'; this.settle(); }

  async upload(file) {
    this.speaker.ready();
    this.say('');
    this.cancel();
    try { this.sendWhole(resampledTo(await readRecording(file), this.microphone.hz)); } catch (error) { this.say(error.message, true); }
  }

  async example(name) {
    this.speaker.ready();
    this.say('');
    const asked = this.asked = Symbol(name); // two examples in a row: the second counts
    try {
      const reply = await fetch(new URL(`v1/examples/${name}`, document.baseURI));
      if (!reply.ok) throw new Error('This example could not be loaded.');
      const recording = resampledTo(await readRecording(await reply.blob()), this.microphone.hz);
      if (asked === this.asked) this.sendWhole(recording);
    } catch (error) { this.say(error.message, true); }
  }

  correct(turn, tone, words) {
    this.interrupt();
    this.say('');
    this.line.send({ type: 'emotion_omni.correct', item_id: turn.id, emotion: tone, transcript: words });
    this.awaitAnswer();
  }

  interrupt() { // the reply stops here and now, and the server learns how much of it was heard
    const seconds = this.speaker.stop();
    if (this.answering && this.answering !== 'asked' && this.line.direct) this.line.send({ type: 'response.cancel' });
    this.truncate(seconds);
    this.answering = null;
  }

  truncate(seconds) {
    const turn = this.sounding;
    this.sounding = null;
    if (!turn?.reply || seconds >= turn.reply.seconds - 0.05 && turn.reply.over) return;
    this.line.send({ type: 'conversation.item.truncate', item_id: turn.reply.id, content_index: 0, audio_end_ms: Math.round(1000 * seconds) });
    turn.reply.over = true;
    this.conversation.draw(turn);
  }

  cancel() { // Escape: what is going on stops, and nothing is sent
    const recording = this.state === 'recording';
    if (recording || this.state === 'hearing') this.line.send({ type: 'input_audio_buffer.clear' });
    if (recording) { this.microphone.stop(); this.say('Recording discarded.'); }
    if (recording || this.state === 'hearing') this.state = 'off';
    this.interrupt();
    this.settle();
  }

  fresh() {
    this.cancel();
    this.say('');
    if (!this.conversation.turns.length) return;
    const old = { name: this.line.conversation, ...this.conversation.clear() };
    this.line.send({ type: 'emotion_omni.new' });
    if (this.keep.checked) kept.write([]);
    const over = setTimeout(() => { this.undo.replaceChildren(); this.line.send({ type: 'emotion_omni.forget', conversation: old.name }); }, 1000 * UNDO_SECONDS);
    const back = make('button', { type: 'button', class: 'talk-link', onclick: () => {
      clearTimeout(over);
      this.undo.replaceChildren();
      this.interrupt();
      this.line.send({ type: 'emotion_omni.open', conversation: old.name });
      this.conversation.restore(old);
      this.settle();
    } }, 'Undo');
    this.undo.replaceChildren('A new conversation. ', back);
    this.button.focus();
  }

  // --- what the server says

  receive(event) {
    const { conversation } = this;
    switch (event.type) {
      case 'emotion_omni.conversation': this.line.conversation = event.conversation.id; window.EmotionOmniTalk.conversation = event.conversation.id; break;
      case 'input_audio_buffer.speech_started': {
        const seconds = this.speaker.stop();
        this.truncate(seconds);
        this.answering = null;
        this.speechFrom = event.audio_start_ms / 1000;
        this.enter('hearing');
        break;
      }
      case 'input_audio_buffer.speech_stopped': this.pending = this.microphone.cut(this.speechFrom, event.audio_end_ms / 1000); break;
      case 'input_audio_buffer.committed': if (this.state === 'hearing') { this.pending ??= this.microphone.cut(this.speechFrom, this.microphone.seconds); this.state = 'off'; this.awaitAnswer(); } break;
      case 'conversation.item.added': if (event.item.role === 'user' && event.item.content[0].type === 'input_audio') this.said(event.item.id); break;
      case 'conversation.item.deleted': this.withTurn(conversation.find(event.item_id), turn => { this.carried = turn.recording; conversation.remove(turn); }); break;
      case 'response.created': this.answering = event.response.id; this.settle(); break;
      case 'response.output_item.added': this.startReply(event); break;
      case 'emotion_omni.loading': this.say('Loading the model. The first time this takes a moment…'); break;
      case 'emotion_omni.heard': this.heard(event); break;
      case 'emotion_omni.plan': this.withTurn(conversation.find(event.item_id), turn => { turn.plan = event; }); break;
      case 'response.output_audio_transcript.delta': this.withTurn(conversation.ofReply(event.item_id), turn => { turn.reply.text += event.delta; }); break;
      case 'response.output_audio.delta': this.sound(event); break;
      case 'conversation.item.truncated': this.withTurn(conversation.ofReply(event.item_id), turn => { turn.reply.text = event.emotion_omni.transcript; }); break;
      case 'response.done': this.done(event); break;
      case 'error': this.fault(event.error); break;
      default:
    }
  }

  said(id) {
    const { carried, pending } = this;
    const recording = carried && pending ? { hz: pending.hz, pcm: joined([carried.pcm, pending.pcm]) } : pending;
    this.carried = this.pending = null;
    this.conversation.add(id, recording);
  }

  withTurn(turn, change) {
    if (!turn) return;
    change(turn);
    if (this.conversation.find(turn.id) === turn) this.conversation.draw(turn);
  }

  startReply({ response_id, item }) {
    const turn = this.conversation.last;
    if (!turn) return;
    turn.reply = { id: item.id, response: response_id, text: '', pieces: [], seconds: 0, over: false };
    this.conversation.draw(turn);
  }

  heard(event) { this.say(''); this.withTurn(this.conversation.find(event.item_id), turn => { turn.heard = event; }); }

  sound({ item_id, delta, response_id }) {
    const turn = this.conversation.ofReply(item_id);
    if (!turn || response_id !== this.answering || turn.reply.over) return;
    const pcm = fromBase64(delta);
    if (this.sounding !== turn) { this.speaker.begin(); this.sounding = turn; }
    turn.reply.pieces.push(pcm);
    turn.reply.seconds += pcm.length / REPLY_HZ;
    this.speaker.play(pcm);
  }

  done({ response }) {
    if (response.id === this.answering || this.answering === 'asked') this.answering = null;
    const turn = this.conversation.turns.find(one => one.reply?.response === response.id);
    if (turn) {
      turn.reply.over = true;
      if (response.status === 'failed') { this.say(response.status_details.error.message, true); if (!turn.heard) this.conversation.remove(turn); else this.conversation.draw(turn); }
      else if (response.status === 'cancelled' && !turn.heard) this.conversation.draw(turn);
      else this.conversation.draw(turn);
    }
    if (this.keep.checked) kept.write(this.conversation.turns);
    this.settle();
  }

  fault({ code, message }) {
    if (code === 'response_cancel_not_active') return; // it was done a moment before
    if (code === 'no-gpu') return; // the line says so itself
    if (code === 'weights' && this.isHandsFree) { this.detectionFailed = true; this.handsfree.checked = false; this.changeMode(); }
    if (this.answering === 'asked') this.answering = null;
    this.say(message, true);
    this.settle();
  }
}

function resampledTo({ pcm, hz }, wanted) { // by linear interpolation: whole files are at 24 kHz, which most microphones are, too
  if (hz === wanted) return { pcm, hz };
  const made = Int16Array.from({ length: Math.floor((pcm.length * wanted) / hz) }, (_, n) => {
    const at = (n * hz) / wanted, before = Math.floor(at), share = at - before;
    return (1 - share) * pcm[before] + share * (pcm[before + 1] ?? pcm[before]);
  });
  return { pcm: made, hz: wanted };
}

let talk = null;
function mount(element, given, parts) {
  if (talk) { element.replaceChildren(talk.root); return; } // the page was drawn again
  config = given;
  talk = new Talk(element, parts);
  window.EmotionOmniTalk.app = talk;
}
window.EmotionOmniTalk = { mount, conversation: '' };

document.addEventListener('keydown', event => {
  if (!talk || talk.root.offsetParent === null) return; // another tab is open, with keys of its own
  if (event.target.closest('input, textarea, select, [contenteditable]') || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const act = { r: () => talk.press(), Escape: () => talk.cancel(), n: () => talk.fresh() }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) { act(); event.preventDefault(); }
});
