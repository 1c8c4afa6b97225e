// The screens of a study but the item to rate (item.js). Each function draws the screen that the server sent.

const SCREENS = {
  consent: showConsent, instructions: showInstructions, rate: showItem, break: showBreak, survey: showSurvey, done: showDone,
  wait: showWait,
};

function showConsent(app, screen) {
  app.ticks = (screen.statements ?? []).map(() => make('input', { type: 'checkbox' }));
  const statements = app.ticks.map((input, n) => make('label', { class: 'rating-statement' }, input, kbd(String(n + 1)),
    make('span', {}, screen.statements[n])));
  const agree = () => {
    const open = app.ticks.filter(input => !input.checked);
    if (!open.length) { app.confirmPhase('consent', { agreed: true }); return; }
    app.showErrors(open.map(input => t('Not ticked yet: {statement}', { statement: screen.statements[app.ticks.indexOf(input)] })));
    open[0].focus();
  };
  app.show('consent', [heading(t('Before you begin')), paragraphs(screen.text), div('rating-statements', statements)],
    [app.mainButton(t('I agree and want to begin'), agree), link(t('No, thank you'), () => app.leave())], screen);
}

function showInstructions(app, screen) {
  const { visit } = app, hooks = { played() {}, changed() {}, log() {}, alive: () => app.visit === visit };
  app.players = (screen.examples ?? []).map((example, n) => new Player({ n, label: example.caption, url: example.clip, seconds: 0 },
    hooks, false));
  const examples = app.players.length > 0 && div('rating-players', app.players.map(player => player.node));
  app.show('instructions', [heading(t('How it works')), paragraphs(screen.text), examples, screen.keys && keyList()],
    [app.mainButton(t('I have read this'), () => app.confirmPhase('instructions', {}))], screen);
  app.players.forEach(player => player.load());
}

function showBreak(app, screen) {
  const advice = t('A pause of about {minutes} minutes does your ears good. Go on whenever you like.', { minutes: screen.minutes });
  const hint = screen.minutes && para('rating-hint', advice);
  const go = () => { if (breakLeft(app) <= 0) app.confirmPhase('break', {}); };
  app.breakEnds = performance.now() + 1000 * (screen.seconds ?? 0);
  app.show('break', [heading(t('Time for a break')), paragraphs(screen.text), hint], [app.mainButton('', go)], screen);
  refreshBreak(app);
}

function breakLeft(app) { return Math.ceil((app.breakEnds - performance.now()) / 1000); }

function refreshBreak(app) { // the button counts down; the server refuses to go on earlier, too
  const left = breakLeft(app), words = left > 0 ? t('Continue in {seconds} s', { seconds: left }) : t('Continue');
  if (app.submitButton.textContent !== words) app.submitButton.textContent = words;
  app.submitButton.dataset.state = left > 0 ? 'waiting' : 'ready';
  app.submitButton.setAttribute('aria-disabled', String(left > 0));
}

function showSurvey(app, screen) {
  const draft = new Draft(`studio:${app.me.rater.id}:survey:${app.study}`, app.study, null);
  app.form = new Form(screen.scales, draft.values,
    { changed: () => { draft.values = app.form.values; draft.keep(); refreshSubmit(app); }, finished: () => app.submitButton.focus() });
  const sent = () => { if (app.root.dataset.screen !== 'survey') draft.drop(); };
  const send = () => { if (!showMissing(app)) app.confirmPhase('survey', app.form.values).then(sent); };
  app.show('survey', [heading(t('A few last questions')), app.form.node], [app.mainButton(t('Save and continue'), send)], screen);
  refreshSubmit(app);
}

function showDone(app, screen) {
  const code = screen.code && make('p', {}, t('Your code:'), ' ', make('code', { class: 'rating-code' }, screen.code));
  const receipts = para('rating-hint', t('Ratings saved: {count}', { count: screen.receipts ?? 0 }));
  app.show('done', [heading(t('Thank you')), paragraphs(screen.text), code, receipts, withdrawalCode(app)],
    [app.mainButton(t('Back to the list'), () => app.leave()), link(t('Withdraw my ratings'), () => app.withdraw(app.study))], screen);
}

function showWait(app, screen) {
  app.show('wait', [heading(t('One moment')), paragraphs(screen.text)],
    [app.mainButton(t('Look again'), () => app.act(() => app.next()))], screen);
}

function showFeedback(app, result, screen) {
  const words = result.expected_words && t('Expected: {words}', { words: result.expected_words });
  app.leaveScreen();
  app.show('feedback', [heading(result.right ? t('✓ That is right') : t('✗ Not quite')),
    div(`rating-box rating-verdict ${result.right ? 'right' : 'wrong'}`, paragraphs(result.text), words && para('rating-hint', words))],
    [app.mainButton(t('Next'), () => app.act(() => app.next()))], screen);
}
