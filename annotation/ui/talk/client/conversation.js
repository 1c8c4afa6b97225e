// The conversation as it is shown: what was said, how it was heard beside it, and the answer.

const TOO_SHORT_TO_SHOW = 0.05; // seconds

class Conversation {
  constructor({ correct, example }) {
    Object.assign(this, { correct, turns: [] });
    this.list = make('ol', { class: 'talk-turns', 'aria-label': 'Conversation' });
    this.empty = emptyConversation(example);
    this.player = null; // what is being listened to again
    this.node = make('section', { class: 'talk-conversation', tabindex: '0', 'aria-label': 'Conversation' }, this.empty, this.list);
    this.show();
  }

  add(id, recording) {
    const turn = { id, recording, words: '', heard: null, plan: null, reply: null };
    turn.node = make('li', { class: 'talk-turn', 'data-item': id });
    this.turns.push(turn);
    this.list.append(turn.node);
    this.draw(turn);
    this.show();
    return turn;
  }

  find(id) { return this.turns.find(turn => turn.id === id); }
  ofReply(id) { return this.turns.find(turn => turn.reply?.id === id); }
  get last() { return this.turns.at(-1); }

  remove(turn) {
    this.turns = this.turns.filter(other => other !== turn);
    turn.node.remove();
    this.show();
  }

  clear() {
    const gone = { turns: this.turns, nodes: [...this.list.children] };
    this.turns = [];
    this.list.replaceChildren();
    this.show();
    return gone;
  }

  restore(gone) {
    this.turns = gone.turns;
    this.list.replaceChildren(...gone.nodes);
    this.show();
  }

  show() { this.empty.hidden = this.turns.length > 0; }

  draw(turn) { // an open correction, and an open picture, stay open
    const previous = this.turns.at(-2);
    if (previous && turn === this.last) this.drawOne(previous, false);
    this.drawOne(turn, turn === this.last);
  }

  drawOne(turn, isLast) {
    const opened = turn.node.querySelector('.talk-details')?.open ?? false;
    const said = div('talk-said', div('talk-bubble', this.listen(turn.recording, 'Your recording'),
      turn.heard ? make('p', { lang: '' }, turn.heard.transcript || '(no words made out)') : span('talk-waiting', 'Your recording')));
    const parts = [div('talk-mine', said, turn.heard ? this.heardCard(turn, isLast, opened) : null)];
    if (turn.reply?.text || turn.reply?.pieces.length) parts.push(this.answer(turn));
    turn.node.replaceChildren(...parts);
    this.follow();
  }

  follow() { // within its own frame on a large screen, with the page on a phone
    this.node.scrollTop = this.node.scrollHeight;
    if (this.node.scrollHeight <= this.node.clientHeight && this.list.offsetParent) this.last?.node.scrollIntoView({ block: 'nearest' });
  }

  answer(turn) {
    const { reply, plan } = turn;
    const voice = plan ? para('talk-note', emotionDot(plan.emotion), `in a ${plan.emotion} voice`, plan.conflict ? ' · your words and your tone differ, so it asks' : '') : null;
    const recording = reply.pieces.length ? { pcm: joined(reply.pieces), hz: REPLY_HZ } : null;
    return div('talk-answer', div('talk-bubble talk-theirs', this.listen(reply.over ? recording : null, 'The reply'), make('p', {}, reply.text.trim())), voice);
  }

  listen(recording, name) {
    if (!recording || recording.pcm.length < TOO_SHORT_TO_SHOW * recording.hz) return null;
    const seconds = (recording.pcm.length / recording.hz).toFixed(0);
    const again = make('button', { type: 'button', class: 'talk-play', 'aria-label': `Play: ${name}, ${seconds} seconds` }, icon('play'));
    again.addEventListener('click', () => this.replay?.(recording));
    return again;
  }

  heardCard(turn, isLast, opened) {
    const { heard } = turn, title = heard.corrected ? `${capital(heard.label)} (you said so)` : inWords(heard);
    const own = heard.corrected || heard.own.transcript !== heard.transcript
      ? para('talk-note', `I had heard: ${inWords(heard.own)}${heard.own.transcript !== heard.transcript ? `, “${heard.own.transcript || 'no words'}”` : ''}`) : null;
    const unsure = heard.sure || heard.corrected ? null : para('talk-note', 'I am not sure how you feel, so my answer names no feeling. You can tell me.');
    const details = make('details', { class: 'talk-details', open: opened }, make('summary', {}, emotionDot(heard.label), span('talk-title', title)),
      unsure, own, emotionBars(heard.corrected ? heard.own : heard), overTime(heard.trajectory, heard.turning_point), knownVoice(heard.known_turns) ? para('talk-note', knownVoice(heard.known_turns)) : null);
    return div('talk-heard', details, isLast && turn.recording ? this.correction(turn) : null);
  }

  correction(turn) {
    const tone = make('select', { 'aria-label': 'The tone it should be' }, ...Object.keys(config.emotions).map(name => make('option', { value: name, selected: name === turn.heard.label }, name)));
    const words = make('textarea', { rows: 2, maxlength: 600, 'aria-label': 'What was said' });
    words.value = turn.heard.transcript;
    const form = make('form', { class: 'talk-correction', hidden: true }, make('label', {}, span('', 'Tone'), tone), make('label', {}, span('', 'Words'), words),
      make('button', { type: 'submit', class: 'talk-button talk-primary' }, 'Answer again'));
    form.addEventListener('submit', event => { event.preventDefault(); this.correct(turn, tone.value, words.value); });
    const open = make('button', { type: 'button', class: 'talk-link', 'aria-expanded': 'false' }, 'Not right? Correct it');
    open.addEventListener('click', () => {
      form.hidden = !form.hidden;
      open.ariaExpanded = String(!form.hidden);
      if (!form.hidden) tone.focus();
      this.follow();
    });
    return div('', open, form);
  }
}

function emptyConversation(example) {
  return div('talk-empty', make('h2', {}, 'Say something, in any tone'),
    make('p', {}, 'I listen to your words and to your voice, and answer both.'),
    div('talk-examples', para('talk-note', 'No microphone? Hear what I make of a recording:'),
      div('talk-row', ...config.examples.map(({ name, title }) => make('button', { type: 'button', class: 'talk-button', 'data-example': name, onclick: () => example(name) }, title)))),
    para('talk-note', 'What you say is kept in memory while you talk, and not stored, unless you give a turn to research.'));
}
