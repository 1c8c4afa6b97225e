// Whether an item may be saved, saving it, skipping it.

const SKIP_REASONS = {
  'cannot-hear': 'I cannot hear it well', distressing: 'It is distressing', other: 'Another reason',
};

function unheardPlayers(app) { return app.players.filter(player => app.item && !player.complete); }

function shareHeard(app) { // of all the sound of this item, heard so far
  const sum = pick => app.players.reduce((total, player) => total + pick(player), 0);
  return sum(player => Math.min(1, player.heard) * player.seconds) / (sum(player => player.seconds) || 1);
}

function stillMissing(app) {
  const clips = unheardPlayers(app).map(player => t('Listen to “{clip}” to the end ({percent} % heard)',
    { clip: player.clip.label, percent: percent(player.heard) }));
  return [...clips, ...(app.form?.missing ?? []).map(({ scale }) => t('Not answered yet: {question}', { question: scale.question }))];
}

function showMissing(app) { // says what is missing and goes to the first of it
  const lacking = stillMissing(app), unheard = unheardPlayers(app);
  app.showErrors(lacking);
  if (unheard.length) unheard[0].playButton.focus();
  else if (lacking.length) app.form.go(app.form.missing[0]);
  return lacking.length > 0;
}

function refreshSubmit(app, state = null) {
  if (!app.form || !app.submitButton?.isConnected) return;
  const unheard = unheardPlayers(app), missing = app.form.missing.length;
  const now = state ?? (app.busy ? app.submitButton.dataset.state : unheard.length ? 'listen' : missing ? 'answer' : 'ready');
  const listen = t('Listen to the end first ({percent} %)', { percent: percent(shareHeard(app)) });
  const answer = missing === 1 ? t('1 question left') : t('{count} questions left', { count: missing });
  const words = { saving: t('Saving…'), retrying: t(NOT_SAVED), listen, answer, ready: t('Save and continue') }[now];
  if (app.submitButton.textContent !== words) app.submitButton.textContent = words;
  app.submitButton.dataset.state = now;
  app.submitButton.setAttribute('aria-disabled', String(now !== 'ready'));
  app.form.node.inert = ['saving', 'retrying'].includes(now); // an answer changed now would not be the one that is saved
}

function saveItem(app) {
  if (app.busy || showMissing(app)) return;
  app.act(async () => {
    const { item } = app;
    refreshSubmit(app, 'saving');
    await sendPlayback(app, item);
    if (unheardPlayers(app).length) { app.busy = null; refreshSubmit(app); showMissing(app); return; }
    const { submit, receipt, clicks } = item.draft;
    const body = { submit_id: submit, assignment: item.assignment, receipt, values: app.form.values, clicks };
    const result = await app.call('submit', body, NOT_SAVED);
    item.draft.drop();
    saySaved(app, result);
    if (result.feedback) showFeedback(app, result.feedback, item);
    else await app.next();
  });
}

async function sendPlayback(app, item) {
  app.stopPlaying();
  await app.keepTrying(() => item.playback.send(), NOT_SAVED);
}

function saySaved(app, { id, at }) {
  const when = at ? new Date(typeof at === 'number' ? 1000 * at : at) : new Date();
  const time = when.toLocaleTimeString(app.root.lang, { hour12: false });
  app.showStatus(t('Saved {time} · #{id}', { time, id: String(id).slice(0, 6) }));
}

async function skipItem(app) {
  if (app.busy || !app.item || app.item.kind === 'sound') return;
  app.stopPlaying();
  const reasons = Object.entries(SKIP_REASONS).map(([reason, words]) => [reason, t(words)]);
  const comfort = t('You may skip what you like. It needs no explanation beyond this.');
  const reason = await choose(app, t('Skip this one?'), comfort, reasons, t('Go back'));
  const { item } = app;
  if (!reason || !item) return;
  app.act(async () => {
    refreshSubmit(app, 'saving');
    await app.call('skip', { assignment: item.assignment, reason, submit_id: item.draft.submit }, NOT_SAVED);
    item.draft.drop();
    app.showStatus(t('Skipped'));
    await app.next();
  });
}
