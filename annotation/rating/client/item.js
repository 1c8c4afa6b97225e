// The item to rate: its clips, its questions, and what is recorded while a rater works on it.

const CLICKS_KEPT = 500; // per item; a log longer than this says nothing more

function showItem(app, screen) {
  const { visit } = app, draft = new Draft(`studio:${app.me.rater.id}:${screen.assignment}`, app.study, screen.receipt);
  const hooks = { alive: () => app.visit === visit, changed: () => refreshSubmit(app), log: (what, clip) => logClick(app, { what, clip }),
    played: segment => segmentPlayed(app, segment) };
  app.players = (screen.clips ?? []).map(clip => new Player(clip, hooks));
  const byNumber = []; // the server's numbers need not follow the order on the page
  app.players.forEach(player => { player.ranges = draft.ranges[player.clip.n] ?? []; byNumber[player.clip.n] = player; });
  app.item = { ...screen, draft };
  app.item.playback = new PlaybackReport(screen, byNumber, draft);
  const finished = () => app.submitButton.focus();
  app.form = new Form(screen.scales, { ...screen.prefill, ...draft.values },
    { changed: (scale, value) => answerChanged(app, scale, value), finished });
  const skip = screen.kind !== 'sound' && skipButton(app); // the sound check must be passed
  app.show('rate', itemParts(app, screen, draft), [app.mainButton('', () => saveItem(app)), skip], screen);
  app.players.forEach(player => { player.unsent = app.item.playback.waiting(player); player.paint(); });
  loadClips(app, draft.restored);
}

function itemParts(app, screen, draft) {
  const title = heading(screen.title || t('Listen and answer'));
  const note = draft.restored && para('rating-note', t('Your unsaved answers were restored.'));
  const said = (screen.texts ?? []).map(({ label, text }) => make('figure', { class: 'rating-text' }, make('figcaption', {}, label),
    make('blockquote', {}, text)));
  const care = screen.kind !== 'sound' && para('rating-hint rating-care', t('Some recordings may be upsetting. You may skip or stop at any time.'));
  return [title, note, app.players.length > 0 && div('rating-players', app.players.map(player => player.node)), said, autoplayBox(app),
    modelGuess(screen), app.form.node, care];
}

function modelGuess({ guess }) {
  if (!guess) return null;
  const said = { words: guess.words || guess.label, percent: Math.round(100 * guess.probability) };
  const sure = guess.probability !== null && guess.probability !== undefined;
  return para('rating-guess', sure ? t('The model heard: {words} ({percent} %)', said) : t('The model heard: {words}', said));
}

function skipButton(app) {
  return make('button', { type: 'button', class: 'rating-button rating-skip', onclick: () => skipItem(app) }, kbd('S'), t('Skip'));
}

function autoplayBox(app) {
  const box = make('input', { type: 'checkbox', onchange: () => store.write('localStorage', 'studio-autoplay', box.checked) });
  box.checked = store.read('localStorage', 'studio-autoplay') === true;
  return app.players.length > 0 && make('label', { class: 'rating-autoplay' }, box, t('Play the next clip automatically'));
}

function loadClips(app, restored) {
  const [first] = app.players, { item } = app;
  const loads = app.players.map(player => player.load());
  if (restored && app.players.length) Promise.all(loads).then(() => app.item === item && reportPlayback(app, true));
  if (first && store.read('localStorage', 'studio-autoplay') === true) {
    loads[0].then(() => { if (app.item === item && app.visible) first.play(); });
  }
  refreshSubmit(app);
}

function logClick(app, entry) {
  const { clicks } = app.item.draft;
  if (clicks.length < CLICKS_KEPT) clicks.push({ at: rounded((performance.now() - app.shownAt) / 1000), ...entry });
}

function answerChanged(app, scale, value) {
  const { draft } = app.item;
  draft.values = app.form.values;
  const last = draft.clicks.at(-1); // typing is one entry, not one for each letter
  const { typed } = app.form.questions.find(question => question.scale.name === scale);
  if (typed && last?.scale === scale) last.typed = value.length;
  else logClick(app, { what: 'answer', scale, ...(typed ? { typed: value.length } : { value }) });
  draft.keep();
  refreshSubmit(app);
}

function segmentPlayed(app, segment) {
  app.item.playback.add(segment);
  reportPlayback(app, false);
}

async function reportPlayback(app, evenIfEmpty) {
  const { item } = app;
  try {
    await item.playback.send(evenIfEmpty);
  } catch (error) {
    if (error instanceof Refusal && app.item === item) await renewReceipt(app, item, error);
    else if (!(error instanceof Refusal || error instanceof Unreachable)) throw error; // unreachable: it stays unsent, and is due again
  }
  if (app.item === item) refreshSubmit(app);
}

// A receipt can age (a restart, a lease that ran out). The same item with a fresh one goes on; another item is shown.
async function renewReceipt(app, item, error) {
  if (item.renewed || app.busy) { app.showErrors([error.message]); return; }
  item.renewed = true;
  await app.act(async () => {
    const screen = await app.call('next', { study: app.study });
    if (screen.assignment !== item.assignment) { await app.next(); return; }
    item.draft.receipt = screen.receipt;
    await app.keepTrying(() => item.playback.send(true));
  });
}
