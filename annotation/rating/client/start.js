// Before a study: how to take part, and the list of studies.

function showStart(app) {
  const name = make('input', { type: 'text', autocomplete: 'nickname', maxlength: '40', required: true });
  const account = make('input', { type: 'text', autocomplete: 'username', maxlength: '80', required: true });
  const password = make('input', { type: 'password', autocomplete: 'current-password', required: true });
  const labelled = (label, input) => make('label', { class: 'rating-field' }, label, input);
  const form = (title, hint, fields, label, body) => {
    const onsubmit = event => { event.preventDefault(); changeLogin(app, 'enter', body()); };
    const press = make('button', { type: 'submit', class: 'rating-button' }, label);
    return make('form', { class: 'rating-box', onsubmit }, make('h3', {}, title), para('rating-hint', hint), fields, press);
  };
  const guest = app.me.can_guest && form(t('As a guest'), t('Pick any nickname. No account, no e-mail.'),
    [labelled(t('Nickname'), name)], t('Take part as a guest'), () => ({ guest: true, name: name.value.trim() }));
  const known = form(t('With an account'), t('If the study’s makers gave you one.'),
    [labelled(t('Name'), account), labelled(t('Password'), password)], t('Sign in'),
    () => ({ name: account.value.trim(), password: password.value }));
  const oauth = app.me.oauth_url && oauthBox(app.me.oauth_url);
  const back = para('rating-hint', link(t('Withdraw with a code'), () => withdrawByCode(app)));
  app.show('start', [heading(t('Choose how to take part')), div('rating-boxes', guest, known, oauth), back]);
}

async function withdrawByCode(app) { // for who lost the login under which the ratings were given
  const input = make('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', maxlength: '80' });
  const warning = t('Everything that was given under this code is erased for good.');
  const answer = await openDialog(app, t('Withdraw with a code'), [make('p', {}, warning), make('label', { class: 'rating-field' }, t('Code'), input)],
    [['yes', t('Withdraw and erase')], ['', t('Keep my ratings')]]);
  if (!answer || !input.value.trim()) return;
  app.act(async () => {
    await app.call('take-back', { code: input.value.trim() });
    await app.load(false);
    app.showStatus(t('Erased.'));
  });
}

const withdrawalCode = app => app.me.rater?.withdrawal_code && make('details', { class: 'rating-hint' },
  make('summary', {}, t('Your withdrawal code')),
  make('p', {}, t('Keep it: with it you can withdraw everything you gave, also after signing out.')),
  make('p', {}, make('code', { class: 'rating-withdrawal' }, app.me.rater.withdrawal_code)));

function oauthBox(url) { // a sign-in elsewhere needs a page of its own: inside a frame its cookies are refused
  const target = window.top === window ? null : '_blank';
  const go = make('a', { class: 'rating-button', href: address(url), target, rel: 'noopener' }, t('Sign in with Hugging Face'));
  return div('rating-box', make('h3', {}, t('With Hugging Face')), para('rating-hint', t('Only your public name is read.')), go);
}

// Signs in. Where somebody is signed in already, they are asked first; → null if they stay who they are.
async function enter(body, call = ask) {
  try {
    return await call('enter', body);
  } catch (error) {
    if (error.code !== 'signed-in') throw error;
  }
  const me = await ask('me');
  texts = me.texts ?? texts;
  const now = t('This browser is signed in as {name}. That login ends.', { name: me.rater?.name ?? '?' });
  const code = t('Code to withdraw everything you gave: {code}', { code: me.rater?.withdrawal_code ?? '–' });
  const parts = [make('p', {}, now), para('rating-hint', code)];
  const answer = await openDialog({ root: dialogPlace() }, t('Sign in as somebody else?'), parts,
    [['yes', t('Sign in as the new person')], ['', t('Stay signed in')]]);
  return answer ? call('enter', { ...body, replace: true }) : null;
}

function dialogPlace() { // where no app is on the page yet, or none is seen
  const place = document.querySelector('.rating-aside') ?? div('rating rating-aside');
  document.body.append(place);
  return place;
}

function changeLogin(app, path, body) {
  app.act(async () => {
    if (path === 'enter') await enter(body, (...given) => app.call(...given));
    else await app.call(path, body);
    await app.load(false);
    for (const other of apps) if (other !== app) other.reset();
  });
}

function showStudies(app) {
  const { rater, studies = [] } = app.me;
  const who = para('rating-who', t('Taking part as {name}', { name: rater.name }), link(t('Sign out'), () => changeLogin(app, 'leave', {})));
  const begin = async () => app.open((await app.call('practice', { tab: app.tab })).study);
  const practice = button(t('Try a practice round'), () => app.act(begin));
  const empty = div('rating-box rating-empty', make('p', {}, t('No study is waiting for you here right now.')),
    para('rating-hint', t('You can get to know the task meanwhile. Practice is kept apart from every study.')),
    practice);
  const cards = studies.length ? div('rating-boxes', studies.map(study => studyCard(app, study))) : empty;
  app.show('list', [heading(t('Your studies')), who, cards, studies.length > 0 && make('p', {}, practice), withdrawalCode(app)]);
}

function studyCard(app, study) {
  const share = study.wanted ? study.done / study.wanted : 0, finished = study.wanted > 0 && study.done >= study.wanted;
  const minutes = study.minutes_text ?? (study.minutes ? t('about {minutes} minutes', { minutes: study.minutes }) : null);
  const facts = [study.state && t(study.state), minutes].filter(Boolean).join(' · ');
  const verb = study.resume ? t('Resume') : finished ? t('Open') : t('Start');
  const go = make('button', { type: 'button', class: 'rating-button rating-primary', 'aria-label': `${verb}: ${study.title}`,
    onclick: () => app.act(() => app.open(study.id)) }, verb);
  const withdraw = study.done > 0 && link(t('Withdraw my ratings'), () => app.withdraw(study.id));
  return make('article', { class: 'rating-card rating-box', 'data-study': study.id }, make('h3', {}, study.title),
    facts && para('rating-hint', facts), bar(share, { 'aria-hidden': 'true' }), para('rating-progress', t('{done} of {wanted}', study)),
    div('rating-card-foot', go, withdraw));
}
