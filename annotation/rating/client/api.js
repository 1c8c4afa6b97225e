// Calls to the studio's routes: JSON, a refusal distinguished from a lost network, and trying again.

const BACKOFF_SECONDS = [1, 2, 4, 8, 15];
const CALL_SECONDS = 20, CLIP_SECONDS = 90; // after which an unanswered call counts as lost

const sleep = seconds => new Promise(done => setTimeout(done, 1000 * seconds));

class Refusal extends Error { // the server said no, and why
  constructor(status, { code = 'refused', message = null } = {}) {
    super(message ?? t('The studio refused this (HTTP {status}). Please try again.', { status }));
    Object.assign(this, { status, code });
  }
}
class Unreachable extends Error {}
class Busy extends Unreachable { // too many requests: the server says when to come again
  constructor(seconds) { super(); this.seconds = seconds; }
}
class Left extends Error {} // the rater left the screen while a call was being repeated

// Of the page itself: behind a proxy the server may know another scheme, host or path than the browser.
const base = () => new URL('.', document.baseURI).pathname.replace(/\/$/, '');
const address = url => (!url.startsWith('/') ? `${base()}/studio/${url}` : url.startsWith(`${base()}/`) ? url : base() + url);

async function reach(url, read, seconds, options = {}) {
  let reply, body;
  try {
    reply = await fetch(url, { credentials: 'same-origin', signal: AbortSignal.timeout(1000 * seconds), ...options });
    body = reply.ok ? await read(reply) : await reply.json().catch(() => ({}));
  } catch (error) {
    throw new Unreachable(error.message);
  }
  if (reply.ok) return body;
  const later = Number(reply.headers.get('Retry-After'));
  if (reply.status === 429 && later && body.error?.code !== 'locked') throw new Busy(later); // locked: a wrong password
  if (reply.status >= 500) throw new Unreachable(`HTTP ${reply.status}`);
  throw new Refusal(reply.status, body.error);
}

function ask(path, body) {
  const headers = { 'Content-Type': 'application/json', 'X-Studio': '1' };
  const options = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
  return reach(address(path), reply => reply.json(), CALL_SECONDS, options);
}

async function insist(attempt, alive, waiting) {
  for (let failures = 0; alive(); failures++) {
    let seconds = BACKOFF_SECONDS[Math.min(failures, BACKOFF_SECONDS.length - 1)];
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      seconds = error.seconds ?? seconds;
      waiting(error);
    }
    await sleep(seconds);
  }
  throw new Left();
}
