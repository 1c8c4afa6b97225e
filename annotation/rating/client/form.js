// The questions of an item and their answers.

const TEXT_LIMIT = 2000; // characters

class Question {
  constructor(scale, value, changed) {
    Object.assign(this, { scale, changed, name: `rating-${++serial}`, typed: ['text', 'digits'].includes(scale.kind) });
    this.entries = this.typed ? [] : scale.kind === 'points' ? this.points() : this.options();
    this.node = this.build();
    this.value = value;
  }
  options() {
    return this.scale.options.map((option, index) => ({ ...option, key: option.key ?? (index < 10 ? String((index + 1) % 10) : null) }));
  }
  points() {
    const { low, high, anchors } = this.scale;
    return Array.from({ length: high - low + 1 }, (_, index) => {
      const value = low + index, key = low < 0 ? index + 1 : value; // no key types a minus sign: count places instead
      return { value, words: String(value), anchor: anchors?.[value], key: key <= 9 ? String(key) : null };
    });
  }
  build() {
    const { scale } = this, hint = scale.hint && make('p', { class: 'rating-hint', id: `${this.name}-hint` }, scale.hint);
    const mark = scale.required ? span('rating-required', ' *', span('rating-unseen', t('required'))) : null;
    const legend = make('legend', {}, scale.question, mark, !scale.required && span('rating-optional', ` ${t('(optional)')}`));
    const body = this.typed ? this.field() : scale.kind === 'points' ? this.row()
      : div('rating-options', this.entries.map((_, n) => this.pill(n)));
    return make('fieldset', { class: 'rating-question', 'data-scale': scale.name, 'data-kind': scale.kind, tabindex: '-1',
      'aria-describedby': hint ? `${this.name}-hint` : null }, legend, hint, body);
  }
  field() {
    const described = this.scale.hint ? `${this.name}-hint` : null;
    const common = { oninput: () => this.changed(this), 'aria-label': this.scale.question, 'aria-describedby': described };
    this.inputs = [this.scale.kind === 'text' ? make('textarea', { rows: '3', maxlength: String(TEXT_LIMIT), ...common })
      : make('input', { type: 'text', inputmode: 'numeric', autocomplete: 'off', maxlength: '20', ...common })];
    return this.inputs[0];
  }
  input(n) {
    const { anchor, words } = this.entries[n];
    const input = make('input', { type: this.scale.kind === 'several' ? 'checkbox' : 'radio', name: this.name, value: String(n),
      'aria-label': anchor ? `${words}, ${anchor}` : null, onchange: () => this.changed(this) });
    this.inputs = [...(this.inputs ?? []), input];
    return input;
  }
  pill(n) {
    const { words, key } = this.entries[n];
    return make('label', { class: 'rating-option' }, this.input(n), key && kbd(key.toUpperCase()), make('span', {}, words));
  }
  row() {
    const named = this.entries.filter(entry => entry.anchor), every = named.length === this.entries.length;
    const cells = this.entries.map((entry, n) => make('label', { class: 'rating-option rating-point' }, this.input(n),
      span('rating-number', entry.words), entry.key && entry.key !== entry.words && kbd(entry.key),
      every && span('rating-anchor', entry.anchor)));
    const ends = !every && named.length > 0 && div('rating-ends', named.map(entry => make('span', {}, entry.anchor)));
    const narrow = cells.length > 7 ? Math.ceil(cells.length / 2) : cells.length, style = `--points:${cells.length};--narrow:${narrow}`;
    return div('rating-scale', make('div', { class: every ? 'rating-points every' : 'rating-points', style }, cells), ends);
  }
  get value() {
    if (this.typed) return this.inputs[0].value.trim();
    const chosen = this.inputs.filter(input => input.checked).map(input => this.entries[input.value].value);
    return this.scale.kind === 'several' ? chosen : chosen[0] ?? null;
  }
  set value(value) {
    if (value === undefined || value === null) return;
    if (this.typed) this.inputs[0].value = value;
    else this.inputs.forEach(input => { input.checked = [value].flat().includes(this.entries[input.value].value); });
  }
  get answered() { const { value } = this; return Array.isArray(value) ? value.length > 0 : value !== null && value !== ''; }
  keyed(key) { return this.entries.findIndex(entry => entry.key && entry.key.toLowerCase() === key.toLowerCase()); }
}

class Form {
  // hooks: changed(scale name, value), finished() when nothing is left to answer.
  constructor(scales, values, hooks) {
    Object.assign(this, { hooks, current: null, questions: [] });
    this.questions = scales.map(scale => new Question(scale, values[scale.name], question => this.changed(question)));
    this.node = div('rating-questions', this.questions.map(question => question.node));
    this.node.addEventListener('focusin', event => this.mark(this.questions.find(question => question.node.contains(event.target))));
    this.reveal();
  }
  changed(question) { this.reveal(); this.hooks.changed(question.scale.name, question.value); }
  reveal() { // a question whose condition does not hold is neither shown nor asked
    for (const { scale, node } of this.questions) {
      const on = scale.show_if && this.questions.find(question => question.scale.name === scale.show_if.scale);
      node.hidden = !!on && (on.node.hidden || ![on.value].flat().some(value => scale.show_if.in.includes(value)));
    }
  }
  get shown() { return this.questions.filter(question => !question.node.hidden); }
  get missing() { return this.shown.filter(question => question.scale.required && !question.answered); }
  get values() {
    return Object.fromEntries(this.shown.filter(question => question.answered).map(({ scale, value }) => [scale.name, value]));
  }
  mark(question) {
    this.current = question ?? null;
    this.questions.forEach(({ node }) => node.removeAttribute('aria-current'));
    question?.node.setAttribute('aria-current', 'true');
  }
  go(question) {
    if (!question) { this.mark(null); this.hooks.finished(); return; }
    (question.typed ? question.inputs[0] : question.node).focus({ preventScroll: true });
    question.node.scrollIntoView({ block: 'nearest', behavior: calm() ? 'auto' : 'smooth' });
  }
  step(by) {
    const { shown } = this, at = this.current ? shown.indexOf(this.current) + by : by > 0 ? 0 : shown.length - 1;
    if (at >= 0) this.go(shown[at]);
  }
  // Onward to what is unanswered. Optional text is passed by (it takes the keys away); what was passed by earlier stays so.
  get following() {
    const { shown } = this, open = shown.filter(question => !question.answered), at = shown.indexOf(this.current);
    const later = open.find(question => shown.indexOf(question) > at && (question.scale.required || !question.typed));
    return later ?? open.find(question => question.scale.required && question !== this.current) ?? null;
  }
  answering(key) { // what this key would do, or null
    const question = this.current ?? this.shown.find(candidate => !candidate.answered && (candidate.scale.required || !candidate.typed));
    if (!question) return null;
    if (question.scale.kind === 'digits' && /^\d$/.test(key)) this.go(question); // the key then types itself into the field
    const place = question.keyed(key);
    return place < 0 ? null : () => this.answer(question, question.inputs[place]);
  }
  answer(question, input) {
    this.mark(question);
    const several = question.scale.kind === 'several';
    input.checked = several ? !input.checked : true;
    this.changed(question);
    this.go(several ? question : this.following);
  }
}
