// The rater's page: the browser side of a listening study. It signs in, lists studies, plays clips, asks, saves.
//
// It measures what was played and reports it; whether that is enough, and what comes next, the server decides. It
// knows no study, no model and no right answer: it draws the screens it is sent (screens.js, item.js). Several apps
// may share a page, one in each tab; only the visible one plays, calls or listens to keys. Texts of the server enter
// the page as text, never as HTML.

const WAIT_SECONDS = 15; // between two looks whether the study has opened again
const DOUBLE_PRESS_MS = 300; // two presses of Enter closer than this are one
const NOT_SAVED = 'Not saved yet – retrying', NOT_REACHED = 'The studio cannot be reached – trying again';

const apps = new Set();

class RatingApp {
  constructor(element, tab) {
    Object.assign(this, { element, tab, me: null, study: null, visit: 0, busy: null, loaded: false, players: [], form: null, item: null,
      pressed: -Infinity });
    this.build();
    this.attach();
    // The page's framework may draw its template anew over us: then the app is put back.
    this.kept = new MutationObserver(() => this.attach());
    this.kept.observe(element, { childList: true });
    this.themed = new MutationObserver(() => this.players.forEach(player => player.draw())); // light to dark, or back
    this.themed.observe(document.body, { attributes: true, attributeFilter: ['class'] });
    this.seen = new IntersectionObserver(() => this.appear());
    this.seen.observe(this.root);
    this.clock = setInterval(() => this.tick(), 1000);
  }
  build() {
    this.top = make('header', { class: 'rating-top' });
    this.main = div('rating-main', para('rating-hint', t('Opening the studio…')));
    this.alert = make('div', { class: 'rating-alert', role: 'alert' });
    this.actions = div('rating-actions');
    this.status = make('div', { class: 'rating-status', role: 'status', 'aria-live': 'polite' });
    const foot = div('rating-foot', this.alert, this.actions, this.status);
    this.root = make('section', { class: 'rating', 'data-screen': 'loading', 'aria-label': t('Listening study') }, this.top, this.main,
      foot);
  }
  attach() { if (this.root.parentNode !== this.element) this.element.replaceChildren(this.root); }
  get visible() { return this.root.isConnected && this.root.getClientRects().length > 0; }
  appear() {
    if (!this.visible) this.stopPlaying();
    else if (!this.loaded) { this.loaded = true; this.act(() => this.load()); }
  }
  stopPlaying() { this.players.forEach(player => player.stop()); }
  reset() { Object.assign(this, { loaded: false, busy: null }); this.leaveScreen(); this.main.replaceChildren(); this.appear(); }
  close() {
    this.leaveScreen();
    [this.kept, this.themed, this.seen].forEach(observer => observer.disconnect());
    clearInterval(this.clock);
    apps.delete(this);
  }
  tick() {
    if (!this.element.isConnected) { this.close(); return; }
    if (!this.visible || document.visibilityState !== 'visible') return;
    if (this.root.dataset.screen === 'break') refreshBreak(this);
    if (this.item?.playback.due) reportPlayback(this, true);
    if (this.root.dataset.screen === 'wait' && performance.now() - this.shownAt >= 1000 * WAIT_SECONDS) this.act(() => this.next());
  }

  // One action at a time. What the server refuses is shown, and nothing typed is lost.
  async act(work) {
    if (this.busy) return;
    const mine = this.busy = {};
    this.showErrors([]);
    try {
      await work();
    } catch (error) {
      await this.handleError(error);
    } finally {
      if (this.busy === mine) this.busy = null;
      refreshSubmit(this);
    }
  }
  async handleError(error) {
    if (error instanceof Left) return;
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401 && this.study) await this.load(false); // signed out elsewhere; the draft stays
    this.showErrors([error.message]);
    if (this.item) this.alert.append(link(t('Load again'), () => this.act(() => this.next())));
  }
  call(path, body, waiting = NOT_REACHED) { return this.keepTrying(() => ask(path, body), waiting); }
  async keepTrying(attempt, waiting = NOT_REACHED) {
    const { visit } = this;
    const before = this.status.textContent;
    let said = null;
    const failed = ({ seconds }) => {
      said = seconds ? t('Many people are here right now – this page goes on by itself in {seconds} s', { seconds }) : t(waiting);
      this.showStatus(said);
      refreshSubmit(this, waiting === NOT_SAVED ? 'retrying' : null);
    };
    const answer = await insist(attempt, () => this.visit === visit, failed);
    if (this.visit !== visit) throw new Left(); // the answer belongs to a screen that is gone
    if (this.status.textContent === said) this.showStatus(before);
    return answer;
  }
  showStatus(text) { this.status.textContent = text; }
  showErrors(lines) {
    this.alert.replaceChildren(lines.length > 1 ? make('ul', {}, lines.map(line => make('li', {}, line))) : lines[0] ?? '');
  }

  async load(straightIn = true) {
    let unwelcome = null;
    await invited.catch(error => { unwelcome = error; });
    this.me = await this.call(`me?tab=${encodeURIComponent(this.tab)}`);
    texts = this.me.texts ?? {};
    this.root.lang = this.me.language ?? 'en';
    Draft.prune();
    const study = store.read('sessionStorage', this.storageKey);
    if (this.me.rater && straightIn && study) await this.open(study).catch(error => this.refused(error));
    else this.home();
    if (!unwelcome) return;
    invited = Promise.resolve(); // it is said once
    this.showErrors([unwelcome instanceof Refusal ? unwelcome.message : t('The invitation could not be checked. Open the link again.')]);
  }
  get storageKey() { return `studio:study:${this.tab}`; }
  async refused(error) {
    if (!(error instanceof Refusal)) throw error;
    store.remove('sessionStorage', this.storageKey);
    this.study = null;
    this.home();
    this.showErrors([error.message]);
  }
  home() { this.leaveScreen(); if (this.me.rater) showStudies(this); else showStart(this); }
  leaveScreen() {
    this.players.forEach(player => player.close());
    this.item?.draft.keep();
    Object.assign(this, { visit: this.visit + 1, players: [], form: null, item: null, ticks: [] });
  }
  leave() {
    store.remove('sessionStorage', this.storageKey);
    this.leaveScreen();
    Object.assign(this, { study: null, busy: null });
    this.showStatus('');
    this.act(() => this.load(false));
  }
  show(kind, parts, actions = [], progress = null) {
    const focused = document.activeElement, ours = !focused || focused === document.body || this.root.contains(focused);
    this.root.dataset.screen = kind;
    this.root.dataset.kind = this.item?.kind ?? kind;
    this.shownAt = performance.now();
    this.showErrors([]);
    this.top.replaceChildren(...this.progressHeader(progress));
    this.main.replaceChildren(...parts.flat().filter(Boolean));
    this.actions.replaceChildren(...actions.filter(Boolean));
    if (!this.visible || !ours) return; // the focus is not taken from what lies outside the app
    this.main.querySelector('.rating-heading')?.focus({ preventScroll: true });
    if (this.root.getBoundingClientRect().top < 0) this.root.scrollIntoView();
  }
  progressHeader(screen) {
    if (!screen) return [];
    const { progress = {}, study } = screen, { done = 0, wanted = 0, phases = [], phase } = progress;
    const task = phase === 'task', step = phases.indexOf(phase) + 1;
    const blocks = progress.block_size ? Math.ceil(wanted / progress.block_size) : 1;
    const block = progress.block && t('block {block} of {blocks}', { block: progress.block, blocks: Math.max(blocks, progress.block) });
    const count = [t('{done} of {wanted}', { done, wanted }), block].filter(Boolean).join(' · ');
    const words = task || !step ? count : t('Step {step} of {steps}: {phase}', { step, steps: phases.length, phase: t(phase) });
    const buttons = div('rating-top-buttons', link(t('Keys'), () => showKeys(this)), link(t('Leave the study'), () => this.leave()));
    const [now, most] = task || !step ? [done, wanted] : [step, phases.length];
    const track = bar(most ? now / most : 0, { role: 'progressbar', 'aria-label': t('Progress'), 'aria-valuemin': '0',
      'aria-valuemax': String(most), 'aria-valuenow': String(now), 'aria-valuetext': words });
    return [div('rating-top-row', span('rating-study', study?.title ?? ''), buttons), track, para('rating-progress', words)];
  }
  // The main button of every screen. A double click or a double press of Enter is one press.
  mainButton(label, work) {
    const press = event => {
      const now = performance.now();
      if (event.detail > 1 || (event.detail === 0 && now - this.pressed < DOUBLE_PRESS_MS)) return;
      this.pressed = now;
      work();
    };
    this.submitButton = button(label, press, 'rating-submit');
    this.submitButton.dataset.state = 'ready';
    return this.submitButton;
  }

  async open(study) {
    this.study = study;
    await this.next();
    store.write('sessionStorage', this.storageKey, study);
  }
  async next() {
    const screen = await this.call('next', { study: this.study });
    const waiting = screen.screen === 'wait' && this.root.dataset.screen === 'wait' && screen.text === this.waitsFor;
    if (waiting) { this.shownAt = performance.now(); return; }
    this.waitsFor = screen.text;
    this.leaveScreen();
    const show = SCREENS[screen.screen];
    if (!show) throw new Refusal(0, { message: t('This page is older than the studio. Please reload it.') });
    show(this, screen);
  }
  confirmPhase(phase, answers) {
    return this.act(async () => { await this.call('phase', { study: this.study, phase, answers }, NOT_SAVED); await this.next(); });
  }
  async withdraw(study) {
    const warning = t('All your ratings in this study are erased for good, and leave its results.');
    const sure = await choose(this, t('Withdraw my ratings?'), warning, [['yes', t('Withdraw and erase')]], t('Keep my ratings'));
    if (!sure) return;
    this.act(async () => {
      const { erased } = await this.call('withdraw', { study });
      Draft.prune(kept => kept.study === study);
      store.remove('sessionStorage', this.storageKey);
      this.study = null;
      await this.load(false);
      this.showStatus(t('Ratings erased: {count}', { count: erased }));
    });
  }
}
