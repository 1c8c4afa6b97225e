// Wiring: an app for each rating tab, keys, what happens when the page is left or opened by a link.

function mount(element, tab) {
  for (const app of apps) {
    if (app.element === element && app.tab === tab) { app.attach(); return; }
    if (app.element === element || !app.element.isConnected) app.close();
  }
  apps.add(new RatingApp(element, tab));
}

const foremost = () => [...apps].find(app => app.visible);
// Captured at the window: before the page's own keys, which would start a recording in a tab that is not seen.
window.addEventListener('keydown', event => { if (foremost()) handleKey(foremost(), event); }, true);
window.addEventListener('pagehide', () => {
  apps.forEach(app => app.stopPlaying());
  if (foremost()) store.write('sessionStorage', 'studio:tab', foremost().tab); // a refresh would open the first tab instead
});
document.addEventListener('visibilitychange', () => { if (document.visibilityState !== 'visible') apps.forEach(app => app.stopPlaying()); });
let invited = acceptInvite(); // one invite per page, however many apps it has
window.EmotionOmniRating = { mount };

window.addEventListener('hashchange', () => { // a link opened in a page that is open already
  if (!takeInvite(false)) return;
  invited = acceptInvite();
  apps.forEach(app => app.reset());
});

// The key of a link stands behind #, which browsers send to no server. Older links have it in the query.
function takeInvite(remove = true) {
  const here = new URL(location.href), behind = new URLSearchParams(here.hash.slice(1));
  const token = behind.get('invite') ?? here.searchParams.get('invite');
  if (!token || !remove) return token;
  here.searchParams.delete('invite'); // a link left in the address bar would be shared, or used twice
  behind.delete('invite');
  here.hash = behind.toString();
  history.replaceState(history.state, '', here.href.replace(/#$/, ''));
  return token;
}

// A link signs in before anything else, then the page is loaded anew: the tabs that the server draws do not know the rater yet.
async function acceptInvite() {
  const token = takeInvite();
  if (!token) return;
  if (document.readyState === 'loading') await new Promise(done => document.addEventListener('DOMContentLoaded', done, { once: true }));
  const entered = await enter({ invite: token });
  if (!entered) return;
  store.write('sessionStorage', 'studio:tab', entered.tab);
  if (entered.study) store.write('sessionStorage', `studio:study:${entered.tab}`, entered.study);
  location.reload();
  await new Promise(() => {});
}

// After signing in by a link, the tab that the link is about; after a refresh, the rater's own.
const TABS = { emotion: 'Rate emotion', empathy: 'Rate empathy', compare: 'Compare', studies: 'Studies' };
const opened = store.read('sessionStorage', 'studio:tab');
if (opened) {
  store.remove('sessionStorage', 'studio:tab');
  const look = setInterval(() => {
    const narrow = [...document.querySelectorAll('.overflow-dropdown button')]; // where the row of tabs is too narrow for it
    const button = document.getElementById(`tab-${opened}-button`) ?? narrow.find(other => other.textContent.trim() === TABS[opened]);
    if (!button) return;
    clearInterval(look);
    button.click();
  }, 100);
}
