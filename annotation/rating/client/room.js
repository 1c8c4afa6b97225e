// The rater's room: the browser side of a listening study. It signs in, lists studies, plays clips, asks, saves.
//
// It measures what was played and reports it; whether that is enough, and what comes next, the server decides. It
// knows no study, no model and no right answer: it draws the screens it is sent. Several rooms may share a page (one
// in each tab); only the visible one plays, calls or listens to keys. Server text enters the page as text, never HTML.

class Room {
  constructor(element, tab) {
    Object.assign(this, { element, tab, me: null, study: null, visit: 0, busy: null, loaded: false, players: [], form: null, item: null,
      pressed: -Infinity });
    this.build();
    this.put();
    // The page's framework may draw its template anew over us: then the room comes back as it was.
    this.kept = new MutationObserver(() => this.put());
    this.kept.observe(element, { childList: true });
    this.themed = new MutationObserver(() => this.players.forEach(player => player.draw())); // light to dark, or back
    this.themed.observe(document.body, { attributes: true, attributeFilter: ['class'] });
    this.seen = new IntersectionObserver(() => this.appear());
    this.seen.observe(this.root);
    this.clock = setInterval(() => this.beat(), 1000);
  }
  build() {
    this.top = make('header', { class: 'room-top' });
    this.main = div('room-main', para('room-hint', t('Opening the studio…')));
    this.alert = make('div', { class: 'room-alert', role: 'alert' });
    this.actions = div('room-actions');
    this.status = make('div', { class: 'room-status', role: 'status', 'aria-live': 'polite' });
    const foot = div('room-foot', this.alert, this.actions, this.status);
    this.root = make('section', { class: 'room', 'data-screen': 'loading', 'aria-label': t('Listening study') }, this.top, this.main,
      foot);
  }
  put() { if (this.root.parentNode !== this.element) this.element.replaceChildren(this.root); }
  get visible() { return this.root.isConnected && this.root.getClientRects().length > 0; }
  appear() {
    if (!this.visible) this.hush();
    else if (!this.loaded) { this.loaded = true; this.act(() => this.load()); }
  }
  hush() { this.players.forEach(player => player.stop()); this.think(); }
  forget() { Object.assign(this, { loaded: false, busy: null }); this.leaveScreen(); this.main.replaceChildren(); this.appear(); }
  close() {
    this.leaveScreen();
    [this.kept, this.themed, this.seen].forEach(observer => observer.disconnect());
    clearInterval(this.clock);
    rooms.delete(this);
  }
  beat() {
    if (!this.element.isConnected) { this.close(); return; }
    if (!this.visible || document.visibilityState !== 'visible') return;
    if (this.item?.hearing.due) this.report(true);
    if (this.root.dataset.screen === 'wait' && performance.now() - this.shownAt >= 1000 * WAIT_SECONDS) this.act(() => this.next());
  }

  // --- calls: one at a time; what is refused is said, and nothing typed is lost
  async act(work) {
    if (this.busy) return;
    const mine = this.busy = {};
    this.complain([]);
    try {
      await work();
    } catch (error) {
      await this.trouble(error);
    } finally {
      if (this.busy === mine) this.busy = null;
      this.refresh();
    }
  }
  async trouble(error) {
    if (error instanceof Left) return;
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401 && this.study) await this.load(false); // signed out elsewhere; the draft stays
    this.complain([error.message]);
    if (this.item) this.alert.append(link(t('Load again'), () => this.act(() => this.next())));
  }
  call(path, body, waiting = NOT_REACHED) { return this.keepTrying(() => ask(path, body), waiting); }
  async keepTrying(attempt, waiting = NOT_REACHED) {
    const { visit } = this;
    const before = this.status.textContent;
    const failed = () => { this.say(t(waiting)); this.refresh(waiting === NOT_SAVED ? 'retrying' : null); };
    const answer = await insist(attempt, () => this.visit === visit, failed);
    if (this.visit !== visit) throw new Left(); // the answer belongs to a screen that is gone
    if (this.status.textContent === t(waiting)) this.say(before);
    return answer;
  }
  say(text) { this.status.textContent = text; }
  complain(lines) {
    this.alert.replaceChildren(lines.length > 1 ? make('ul', {}, lines.map(line => make('li', {}, line))) : lines[0] ?? '');
  }

  // --- where am I
  async load(straightIn = true) {
    let unwelcome = null;
    await invited.catch(error => { unwelcome = error; });
    this.me = await this.call(`me?tab=${encodeURIComponent(this.tab)}`);
    texts = this.me.texts ?? {};
    this.root.lang = this.me.language ?? 'en';
    Draft.prune();
    const study = store.read('sessionStorage', this.place);
    if (this.me.rater && straightIn && study) await this.open(study).catch(error => this.turnedAway(error));
    else this.home();
    if (!unwelcome) return;
    invited = Promise.resolve(); // it is said once
    this.complain([unwelcome instanceof Refusal ? unwelcome.message : t('The invitation could not be checked. Open the link again.')]);
  }
  get place() { return `studio:study:${this.tab}`; }
  async turnedAway(error) {
    if (!(error instanceof Refusal)) throw error;
    store.remove('sessionStorage', this.place);
    this.study = null;
    this.home();
    this.complain([error.message]);
  }
  home() { this.leaveScreen(); if (this.me.rater) this.list(); else this.start(); }
  leaveScreen() {
    this.players.forEach(player => player.close());
    this.item?.draft.keep();
    Object.assign(this, { visit: this.visit + 1, players: [], form: null, item: null, ticks: [] });
  }
  leave() {
    store.remove('sessionStorage', this.place);
    this.leaveScreen();
    Object.assign(this, { study: null, busy: null });
    this.say('');
    this.act(() => this.load(false));
  }
  show(kind, parts, actions = [], progress = null) {
    const focused = document.activeElement, ours = !focused || focused === document.body || this.root.contains(focused);
    this.root.dataset.screen = kind;
    this.root.dataset.kind = this.item?.kind ?? kind;
    this.shownAt = performance.now();
    this.complain([]);
    this.top.replaceChildren(...this.header(progress));
    this.main.replaceChildren(...parts.flat().filter(Boolean));
    this.actions.replaceChildren(...actions.filter(Boolean));
    if (!this.visible || !ours) return; // the focus is not taken from what lies outside the room
    this.main.querySelector('.room-heading')?.focus({ preventScroll: true });
    if (this.root.getBoundingClientRect().top < 0) this.root.scrollIntoView();
  }
  header(screen) {
    if (!screen) return [];
    const { progress = {}, study } = screen, { done = 0, wanted = 0, phases = [], phase } = progress;
    const task = phase === 'task', step = phases.indexOf(phase) + 1;
    const blocks = progress.block_size ? Math.ceil(wanted / progress.block_size) : 1;
    const block = progress.block && t('block {block} of {blocks}', { block: progress.block, blocks: Math.max(blocks, progress.block) });
    const count = [t('{done} of {wanted}', { done, wanted }), block].filter(Boolean).join(' · ');
    const words = task || !step ? count : t('Step {step} of {steps}: {phase}', { step, steps: phases.length, phase: t(phase) });
    const buttons = div('room-top-buttons', link(t('Keys'), () => this.help()), link(t('Leave the study'), () => this.leave()));
    const [now, most] = task || !step ? [done, wanted] : [step, phases.length];
    const track = bar(most ? now / most : 0, { role: 'progressbar', 'aria-label': t('Progress'), 'aria-valuemin': '0',
      'aria-valuemax': String(most), 'aria-valuenow': String(now), 'aria-valuetext': words });
    return [div('room-top-row', span('room-study', study?.title ?? ''), buttons), track, para('room-progress', words)];
  }
  // The main button of every screen. A double click or a double press of Enter is one press.
  submit(label, work) {
    const press = event => {
      const now = performance.now();
      if (event.detail > 1 || (event.detail === 0 && now - this.pressed < DOUBLE_PRESS_MS)) return;
      this.pressed = now;
      work();
    };
    this.submitButton = button(label, press, 'room-submit');
    this.submitButton.dataset.state = 'ready';
    return this.submitButton;
  }

  // --- start and list
  start() {
    const name = make('input', { type: 'text', autocomplete: 'nickname', maxlength: '40', required: true });
    const account = make('input', { type: 'text', autocomplete: 'username', maxlength: '80', required: true });
    const password = make('input', { type: 'password', autocomplete: 'current-password', required: true });
    const labelled = (label, input) => make('label', { class: 'room-field' }, label, input);
    const form = (title, hint, fields, label, body) => {
      const onsubmit = event => { event.preventDefault(); this.enter(body()); };
      const press = make('button', { type: 'submit', class: 'room-button' }, label);
      return make('form', { class: 'room-box', onsubmit }, make('h3', {}, title), para('room-hint', hint), fields, press);
    };
    const guest = this.me.can_guest && form(t('As a guest'), t('Pick any nickname. No account, no e-mail.'),
      [labelled(t('Nickname'), name)], t('Take part as a guest'), () => ({ guest: true, name: name.value.trim() }));
    const known = form(t('With an account'), t('If the study’s makers gave you one.'),
      [labelled(t('Name'), account), labelled(t('Password'), password)], t('Sign in'),
      () => ({ name: account.value.trim(), password: password.value }));
    const oauth = this.me.oauth_url && this.elsewhere(this.me.oauth_url);
    this.show('start', [heading(t('Choose how to take part')), div('room-boxes', guest, known, oauth)]);
  }
  elsewhere(url) { // a sign-in elsewhere needs a page of its own: inside a frame its cookies are refused
    const target = window.top === window ? null : '_blank';
    const go = make('a', { class: 'room-button', href: address(url), target, rel: 'noopener' }, t('Sign in with Hugging Face'));
    return div('room-box', make('h3', {}, t('With Hugging Face')), para('room-hint', t('Only your public name is read.')), go);
  }
  enter(body) { this.changeWho('enter', body); }
  signOut() { this.changeWho('leave', {}); }
  changeWho(path, body) {
    this.act(async () => {
      await this.call(path, body);
      await this.load(false);
      for (const other of rooms) if (other !== this) other.forget();
    });
  }
  list() {
    const { rater, studies = [] } = this.me;
    const who = para('room-who', t('Taking part as {name}', { name: rater.name }), link(t('Sign out'), () => this.signOut()));
    const begin = async () => this.open((await this.call('practice', { tab: this.tab })).study);
    const practice = button(t('Try a practice round'), () => this.act(begin));
    const empty = div('room-box room-empty', make('p', {}, t('No study is waiting for you here right now.')),
      para('room-hint', t('You can get to know the task meanwhile. Practice is kept apart from every study.')),
      practice);
    const cards = studies.length ? div('room-boxes', studies.map(study => this.card(study))) : empty;
    this.show('list', [heading(t('Your studies')), who, cards, studies.length > 0 && make('p', {}, practice)]);
  }
  card(study) {
    const share = study.wanted ? study.done / study.wanted : 0, finished = study.wanted > 0 && study.done >= study.wanted;
    const minutes = study.minutes_text ?? (study.minutes ? t('about {minutes} minutes', { minutes: study.minutes }) : null);
    const facts = [study.state && t(study.state), minutes].filter(Boolean).join(' · ');
    const verb = study.resume ? t('Resume') : finished ? t('Open') : t('Start');
    const go = make('button', { type: 'button', class: 'room-button room-primary', 'aria-label': `${verb}: ${study.title}`,
      onclick: () => this.act(() => this.open(study.id)) }, verb);
    const withdraw = study.done > 0 && link(t('Withdraw my ratings'), () => this.withdraw(study.id));
    return make('article', { class: 'room-card room-box', 'data-study': study.id }, make('h3', {}, study.title),
      facts && para('room-hint', facts), bar(share, { 'aria-hidden': 'true' }), para('room-progress', t('{done} of {wanted}', study)),
      div('room-card-foot', go, withdraw));
  }

  // --- the screens of a study
  async open(study) {
    this.study = study;
    await this.next();
    store.write('sessionStorage', this.place, study);
  }
  async next() {
    const screen = await this.call('next', { study: this.study });
    if (screen.screen === 'wait' && this.root.dataset.screen === 'wait') { this.shownAt = performance.now(); return; }
    this.leaveScreen();
    if (!SCREENS.includes(screen.screen)) throw new Refusal(0, { message: t('This page is older than the studio. Please reload it.') });
    this[screen.screen](screen);
  }
  phase(phase, answers) {
    return this.act(async () => { await this.call('phase', { study: this.study, phase, answers }, NOT_SAVED); await this.next(); });
  }
  consent(screen) {
    this.ticks = (screen.statements ?? []).map(() => make('input', { type: 'checkbox' }));
    const statements = this.ticks.map((input, n) => make('label', { class: 'room-statement' }, input, kbd(String(n + 1)),
      make('span', {}, screen.statements[n])));
    const agree = () => {
      const open = this.ticks.filter(input => !input.checked);
      if (!open.length) { this.phase('consent', { agreed: true }); return; }
      this.complain(open.map(input => t('Not ticked yet: {statement}', { statement: screen.statements[this.ticks.indexOf(input)] })));
      open[0].focus();
    };
    this.show('consent', [heading(t('Before you begin')), paragraphs(screen.text), div('room-statements', statements)],
      [this.submit(t('I agree and want to begin'), agree), link(t('No, thank you'), () => this.leave())], screen);
  }
  instructions(screen) {
    const { visit } = this, hooks = { played() {}, changed() {}, log() {}, alive: () => this.visit === visit };
    this.players = (screen.examples ?? []).map((example, n) => new Player({ n, label: example.caption, url: example.clip, seconds: 0 },
      hooks, false));
    const examples = this.players.length > 0 && div('room-players', this.players.map(player => player.node));
    this.show('instructions', [heading(t('How it works')), paragraphs(screen.text), examples, screen.keys && this.keyList()],
      [this.submit(t('I have read this'), () => this.phase('instructions', {}))], screen);
    this.players.forEach(player => player.load());
  }
  break(screen) {
    const advice = t('A pause of about {minutes} minutes does your ears good. Go on whenever you like.', { minutes: screen.minutes });
    const hint = screen.minutes && para('room-hint', advice);
    this.show('break', [heading(t('Time for a break')), paragraphs(screen.text), hint],
      [this.submit(t('Continue'), () => this.phase('break', {}))], screen);
  }
  survey(screen) {
    const draft = new Draft(`studio:${this.me.rater.id}:survey:${this.study}`, this.study, null);
    this.form = new Form(screen.scales, draft.values,
      { changed: () => { draft.values = this.form.values; draft.keep(); this.refresh(); }, finished: () => this.submitButton.focus() });
    const sent = () => { if (this.root.dataset.screen !== 'survey') draft.drop(); };
    const send = () => { if (!this.refuse()) this.phase('survey', this.form.values).then(sent); };
    this.show('survey', [heading(t('A few last questions')), this.form.node], [this.submit(t('Save and continue'), send)], screen);
    this.refresh();
  }
  done(screen) {
    const code = screen.code && make('p', {}, t('Your code:'), ' ', make('code', { class: 'room-code' }, screen.code));
    const receipts = para('room-hint', t('Ratings saved: {count}', { count: screen.receipts ?? 0 }));
    this.show('done', [heading(t('Thank you')), paragraphs(screen.text), code, receipts],
      [this.submit(t('Back to the list'), () => this.leave()), link(t('Withdraw my ratings'), () => this.withdraw(this.study))], screen);
  }
  wait(screen) {
    this.show('wait', [heading(t('One moment')), paragraphs(screen.text)],
      [this.submit(t('Look again'), () => this.act(() => this.next()))], screen);
  }
  feedback(result, screen) {
    const words = result.expected_words && t('Expected: {words}', { words: result.expected_words });
    this.leaveScreen();
    this.show('feedback', [heading(result.right ? t('✓ That is right') : t('✗ Not quite')),
      div(`room-box room-verdict ${result.right ? 'right' : 'wrong'}`, paragraphs(result.text), words && para('room-hint', words))],
      [this.submit(t('Next'), () => this.act(() => this.next()))], screen);
  }

  // --- the item to rate
  rate(screen) {
    const { visit } = this, draft = new Draft(`studio:${this.me.rater.id}:${screen.assignment}`, this.study, screen.receipt);
    const hooks = { alive: () => this.visit === visit, changed: () => this.refresh(), log: (what, clip) => this.log({ what, clip }),
      played: segment => this.played(segment) };
    this.players = (screen.clips ?? []).map(clip => new Player(clip, hooks));
    const byNumber = []; // the server's numbers need not follow the order on the page
    this.players.forEach(player => { player.ranges = draft.ranges[player.clip.n] ?? []; byNumber[player.clip.n] = player; });
    this.item = { ...screen, draft };
    this.item.hearing = new Hearing(screen, byNumber, draft);
    const finished = () => this.submitButton.focus();
    this.form = new Form(screen.scales, { ...screen.prefill, ...draft.values },
      { changed: (scale, value) => this.answered(scale, value), finished });
    const skip = screen.kind !== 'sound' && this.skipButton(); // without the sound check nobody knows what a rating is worth
    this.show('rate', this.itemParts(screen, draft), [this.submit('', () => this.save()), skip], screen);
    this.players.forEach(player => { player.unsent = this.item.hearing.waiting(player); player.paint(); });
    this.prepare(draft.restored);
  }
  itemParts(screen, draft) {
    const title = heading(screen.title || t('Listen and answer'));
    const note = draft.restored && para('room-note', t('Your unsaved answers were restored.'));
    const said = (screen.texts ?? []).map(({ label, text }) => make('figure', { class: 'room-text' }, make('figcaption', {}, label),
      make('blockquote', {}, text)));
    const care = screen.kind !== 'sound' && para('room-hint room-care', t('Some recordings may be upsetting. You may skip or stop at any time.'));
    return [title, note, said, this.players.length > 0 && div('room-players', this.players.map(player => player.node)), this.autoplay(),
      this.guess(screen), this.form.node, care];
  }
  guess({ guess }) {
    if (!guess) return null;
    const said = { words: guess.words || guess.label, percent: Math.round(100 * guess.probability) };
    const sure = guess.probability !== null && guess.probability !== undefined;
    return para('room-guess', sure ? t('The model heard: {words} ({percent} %)', said) : t('The model heard: {words}', said));
  }
  skipButton() {
    return make('button', { type: 'button', class: 'room-button room-skip', onclick: () => this.skip() }, kbd('S'), t('Skip'));
  }
  autoplay() {
    const box = make('input', { type: 'checkbox', onchange: () => store.write('localStorage', 'studio-autoplay', box.checked) });
    box.checked = store.read('localStorage', 'studio-autoplay') === true;
    return this.players.length > 0 && make('label', { class: 'room-autoplay' }, box, t('Play the next clip automatically'));
  }
  prepare(restored) {
    const [first] = this.players, { item } = this;
    const loads = this.players.map(player => player.load());
    if (restored && this.players.length) Promise.all(loads).then(() => this.item === item && this.report(true));
    if (first && store.read('localStorage', 'studio-autoplay') === true) {
      loads[0].then(() => { if (this.item === item && this.visible) first.play(); });
    }
    this.refresh();
  }
  log(entry) {
    const { clicks } = this.item.draft;
    if (clicks.length < CLICKS_KEPT) clicks.push({ at: rounded((performance.now() - this.shownAt) / 1000), ...entry });
  }
  answered(scale, value) {
    const { draft } = this.item;
    draft.values = this.form.values;
    const last = draft.clicks.at(-1); // typing is one entry, not one for each letter
    const { typed } = this.form.questions.find(question => question.scale.name === scale);
    if (typed && last?.scale === scale) last.typed = value.length;
    else this.log({ what: 'answer', scale, ...(typed ? { typed: value.length } : { value }) });
    draft.keep();
    this.refresh();
  }
  think() { // thinking time: from when all was heard, while the page is looked at
    const { item } = this, now = performance.now();
    if (item?.since) item.draft.seconds = rounded(item.draft.seconds + (now - item.since) / 1000);
    if (item) item.since = !this.unheard.length && this.visible && document.visibilityState === 'visible' ? now : null;
  }
  played(segment) {
    this.item.hearing.add(segment);
    this.report(false);
  }
  async report(evenIfEmpty) {
    const { item } = this;
    try {
      await item.hearing.send(evenIfEmpty);
    } catch (error) {
      if (error instanceof Refusal && this.item === item) await this.renew(item, error);
      else if (!(error instanceof Refusal || error instanceof Unreachable)) throw error; // unreachable: it stays unsent, and is due again
    }
    if (this.item === item) this.refresh();
  }
  // A receipt can age (a restart, a lease that ran out). The same item with a fresh one goes on; another item is shown.
  async renew(item, error) {
    if (item.renewed || this.busy) { this.complain([error.message]); return; }
    item.renewed = true;
    await this.act(async () => {
      const screen = await this.call('next', { study: this.study });
      if (screen.assignment !== item.assignment) { await this.next(); return; }
      item.draft.receipt = screen.receipt;
      await this.keepTrying(() => item.hearing.send(true));
    });
  }

  // --- save and skip
  get unheard() { return this.players.filter(player => this.item && !player.complete); }
  get share() { // of all the sound of this item, heard so far
    const sum = pick => this.players.reduce((total, player) => total + pick(player), 0);
    return sum(player => Math.min(1, player.heard) * player.seconds) / (sum(player => player.seconds) || 1);
  }
  get lacking() {
    const clips = this.unheard.map(player => t('Listen to “{clip}” to the end ({percent} % heard)',
      { clip: player.clip.label, percent: percent(player.heard) }));
    return [...clips, ...(this.form?.missing ?? []).map(({ scale }) => t('Not answered yet: {question}', { question: scale.question }))];
  }
  refuse() { // says what is missing and goes to the first of it
    const { lacking, unheard } = this;
    this.complain(lacking);
    if (unheard.length) unheard[0].playButton.focus();
    else if (lacking.length) this.form.go(this.form.missing[0]);
    return lacking.length > 0;
  }
  refresh(state = null) {
    if (!this.form || !this.submitButton?.isConnected) return;
    this.think();
    const { unheard } = this, missing = this.form.missing.length;
    const now = state ?? (this.busy ? this.submitButton.dataset.state : unheard.length ? 'listen' : missing ? 'answer' : 'ready');
    const listen = t('Listen to the end first ({percent} %)', { percent: percent(this.share) });
    const answer = missing === 1 ? t('1 question left') : t('{count} questions left', { count: missing });
    const words = { saving: t('Saving…'), retrying: t(NOT_SAVED), listen, answer, ready: t('Save and continue') }[now];
    if (this.submitButton.textContent !== words) this.submitButton.textContent = words;
    this.submitButton.dataset.state = now;
    this.submitButton.setAttribute('aria-disabled', String(now !== 'ready'));
    this.form.node.inert = ['saving', 'retrying'].includes(now); // an answer changed now would not be the one that is saved
  }
  save() {
    if (this.busy || this.refuse()) return;
    this.act(async () => {
      const { item } = this;
      this.refresh('saving');
      const { seconds } = item.draft; // as of the press: waiting for the network is no thinking
      await this.flush(item);
      if (this.unheard.length) { this.busy = null; this.refresh(); this.refuse(); return; }
      const { submit, receipt, clicks } = item.draft;
      const body = { submit_id: submit, assignment: item.assignment, receipt, values: this.form.values, seconds, clicks };
      const result = await this.call('submit', body, NOT_SAVED);
      item.draft.drop();
      this.receipt(result);
      if (result.feedback) this.feedback(result.feedback, item);
      else await this.next();
    });
  }
  async flush(item) {
    this.hush();
    await this.keepTrying(() => item.hearing.send(), NOT_SAVED);
  }
  receipt({ id, at }) {
    const when = at ? new Date(typeof at === 'number' ? 1000 * at : at) : new Date();
    const time = when.toLocaleTimeString(this.root.lang, { hour12: false });
    this.say(t('Saved {time} · #{id}', { time, id: String(id).slice(0, 6) }));
  }
  async skip() {
    if (this.busy || !this.item || this.item.kind === 'sound') return;
    this.hush();
    const words = ['I cannot hear it well', 'It is distressing', 'Another reason'];
    const reasons = ['cannot-hear', 'distressing', 'other'].map((reason, n) => [reason, t(words[n])]);
    const comfort = t('Skipping has no penalty, and needs no explanation beyond this.');
    const reason = await this.choose(t('Skip this one?'), comfort, reasons, t('Go back'));
    const { item } = this;
    if (!reason || !item) return;
    this.act(async () => {
      this.refresh('saving');
      await this.call('skip', { assignment: item.assignment, reason, submit_id: item.draft.submit }, NOT_SAVED);
      item.draft.drop();
      this.say(t('Skipped'));
      await this.next();
    });
  }
  async withdraw(study) {
    const warning = t('All your ratings in this study are erased for good, and leave its results.');
    const sure = await this.choose(t('Withdraw my ratings?'), warning, [['yes', t('Withdraw and erase')]], t('Keep my ratings'));
    if (!sure) return;
    this.act(async () => {
      const { erased } = await this.call('withdraw', { study });
      Draft.prune(kept => kept.study === study);
      store.remove('sessionStorage', this.place);
      this.study = null;
      await this.load(false);
      this.say(t('Ratings erased: {count}', { count: erased }));
    });
  }

  // --- dialogs and keys
  dialog(title, parts, buttons) { // resolves with the value of the button pressed, or '' (Esc)
    const name = `room-${++serial}`, numbered = buttons.length > 2;
    const keys = buttons.map(([value, label], n) => {
      const key = button(label, () => box.close(value));
      if (numbered && value) key.prepend(kbd(String(n + 1)));
      return key;
    });
    const box = make('dialog', { class: 'room-dialog', 'aria-labelledby': name }, make('h3', { id: name }, title), parts,
      div('room-dialog-buttons', keys));
    box.addEventListener('keydown', event => {
      event.stopPropagation();
      if (numbered && /^[1-9]$/.test(event.key)) keys[event.key - 1]?.click();
    });
    this.root.append(box);
    box.showModal();
    return new Promise(done => box.addEventListener('close', () => { box.remove(); done(box.returnValue); }, { once: true }));
  }
  choose(title, text, choices, refusal) { return this.dialog(title, [make('p', {}, text)], [...choices, ['', refusal]]); }
  keyList() {
    return make('dl', { class: 'room-keys' }, KEYS.map(([key, words]) => make('div', {}, make('dt', {}, make('kbd', {}, t(key))),
      make('dd', {}, t(words)))));
  }
  help() { this.hush(); return this.dialog(t('Keys'), [this.keyList()], [['', t('Close')]]); }
  get clip() { // the one Space acts on: what sounds, else the next unheard, else the last played
    const playing = this.players.find(player => !player.audio.paused);
    return playing ?? this.unheard[0] ?? this.players.find(player => player === sounding) ?? this.players[0];
  }
  key(event) {
    const { target } = event, away = !this.root.contains(target) && target !== document.body && !target.closest('[role="tab"]');
    if (away || event.ctrlKey || event.metaKey || event.altKey || this.root.querySelector('dialog[open]')) return;
    const typing = target.matches('input[type="text"], input[type="password"], textarea, select');
    const work = typing ? this.typing(event) : this.command(event);
    if (!work) return;
    event.preventDefault();
    event.stopPropagation(); // the page has keys of its own, for other tabs
    if (!event.repeat) work();
  }
  typing({ key, target }) {
    if (key === 'Escape') return () => (target.closest('.room-question') ?? this.main.querySelector('.room-heading'))?.focus();
    const inForm = this.form?.node.contains(target) && target.matches('input');
    return key === 'Enter' && inForm ? () => this.submitButton.click() : null;
  }
  command({ key, target }) {
    const listening = key === ' ' && target === this.submitButton && this.unheard.length > 0; // Space there can only mean: play
    const pressable = this.root.contains(target) && target.closest('button, a') && !listening;
    const tickable = target.type === 'checkbox' || (target.type === 'radio' && !target.checked);
    if (key === ' ') return pressable || tickable || !this.clip ? null : () => this.clip.toggle();
    if (key === 'Enter' && pressable) return null;
    const answer = !this.busy && (this.form?.answering(key) ?? this.ticking(key));
    if (answer) return answer;
    const commands = { r: () => this.clip?.replay(), n: () => this.onward('n'), enter: () => this.onward('enter'), s: () => this.skip(),
      '?': () => this.help(), '[': () => this.form?.step(-1), ']': () => this.form?.step(1) };
    return commands[key.toLowerCase()] ?? null;
  }
  ticking(key) { const box = this.ticks?.[key - 1]; return box ? () => { box.checked = !box.checked; box.focus(); } : null; }
  onward(key) { // Enter on a question of several answers ends it; elsewhere it presses the main button
    const { form } = this;
    if (key === 'enter' && form?.current?.scale.kind === 'several' && form.following) form.go(form.following);
    else if (this.submitButton?.isConnected) this.submitButton.click();
  }
}

// --- the page --------------------------------------------------------------------------------------------------

function mount(element, tab) {
  for (const room of rooms) {
    if (room.element === element && room.tab === tab) { room.put(); return; }
    if (room.element === element || !room.element.isConnected) room.close();
  }
  rooms.add(new Room(element, tab));
}

const foremost = () => [...rooms].find(room => room.visible);
// Captured at the window: before the page's own keys, which would start a recording in a tab that is not seen.
window.addEventListener('keydown', event => foremost()?.key(event), true);
window.addEventListener('pagehide', () => {
  rooms.forEach(room => room.hush());
  if (foremost()) store.write('sessionStorage', 'studio:tab', foremost().tab); // a refresh would open the first tab instead
});
document.addEventListener('visibilitychange', () => { if (document.visibilityState !== 'visible') rooms.forEach(room => room.hush()); });
let invited = invite(); // one invitation per page, however many rooms it has
window.EmotionOmniRoom = { mount };

// After signing in by a link, the tab that the link is about; after a refresh, the rater's own.
const TABS = { emotion: 'Rate emotion', empathy: 'Rate empathy', compare: 'Compare', studies: 'Studies' };
const opened = store.read('sessionStorage', 'studio:tab');
if (opened) {
  store.remove('sessionStorage', 'studio:tab');
  const look = setInterval(() => {
    const narrow = [...document.querySelectorAll('.overflow-dropdown button')]; // where the row of tabs has no room for it
    const button = document.getElementById(`tab-${opened}-button`) ?? narrow.find(other => other.textContent.trim() === TABS[opened]);
    if (!button) return;
    clearInterval(look);
    button.click();
  }, 100);
}
