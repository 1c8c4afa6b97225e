// The player of one clip, which measures what was really played.

const REPORT_SECONDS = 5; // of playing, then the part so far is reported
const NEEDED = 0.95; // share of a clip to be heard, until the server has named its own
const RATES = [1, 1.25];
const PEAKS = 240; // of a drawn clip: more than the bars that fit on a wide screen

let sounding = null; // the player that is heard now

class Player {
  // hooks: played(segment), changed(), log(what, clip), alive(). A gated player cannot be wound past what was heard.
  constructor(clip, hooks, gated = true) {
    Object.assign(this, { clip, hooks, gated, ranges: [], open: null, peaks: null, proof: null, plays: 0, confirmed: null,
      needed: NEEDED });
    this.audio = new Audio();
    this.audio.preservesPitch = true;
    this.node = this.build();
    this.listen();
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
    this.paint();
  }
  build() {
    this.canvas = make('canvas', { 'aria-hidden': 'true' });
    const where = t('Position in {clip}', { clip: this.clip.label });
    this.wave = make('div', { class: 'rating-wave', role: 'slider', tabindex: '0', 'aria-valuemin': '0', 'aria-label': where },
      this.canvas);
    this.playButton = button('', () => this.toggle(), 'rating-play');
    this.rateButton = button('', () => this.nextRate(), 'rating-small');
    this.muteButton = button('', () => this.mute(), 'rating-small rating-mute');
    this.time = span('rating-time');
    this.tick = span('rating-heard');
    this.note = make('p', { class: 'rating-note', hidden: true });
    const foot = div('rating-player-foot', this.time, this.tick, this.rateButton, this.muteButton);
    return make('div', { class: 'rating-player', 'data-clip': this.clip.n, role: 'group', 'aria-label': this.clip.label },
      para('rating-player-label', this.clip.label), div('rating-player-row', this.playButton, this.wave), foot, this.note);
  }
  listen() {
    this.audio.addEventListener('play', () => { this.begin(this.start ?? this.audio.currentTime); this.paint(); });
    this.audio.addEventListener('pause', () => this.cut());
    this.audio.addEventListener('timeupdate', () => this.advance());
    this.audio.addEventListener('error', () => this.fail(t('This recording cannot be played here. You may skip it.')));
    this.audio.addEventListener('loadedmetadata', () => this.paint());
    this.wave.addEventListener('keydown', event => this.wind(event));
    this.wave.addEventListener('pointerdown', event => { this.wave.setPointerCapture(event.pointerId); this.point(event); });
    this.wave.addEventListener('pointermove', event => { if (this.wave.hasPointerCapture(event.pointerId)) this.point(event); });
  }
  async load() {
    const read = async reply => ({ bytes: await reply.arrayBuffer(), headers: reply.headers });
    const fetched = () => reach(address(this.clip.url), read, CLIP_SECONDS, { headers: { 'X-Studio': '1' } });
    try {
      const { bytes, headers } = await insist(fetched, this.hooks.alive, () => this.tell(t('The recording is still on its way…')));
      if (!this.hooks.alive()) return;
      this.tell('');
      this.proof = headers.get('X-Proof');
      this.audio.src = this.blob = URL.createObjectURL(new Blob([bytes], { type: headers.get('Content-Type') ?? 'audio/flac' }));
      await this.picture(bytes);
    } catch (error) {
      if (error instanceof Refusal) this.fail(error.message);
      else if (!(error instanceof Left)) throw error;
    }
  }
  async picture(bytes) { // an offline context decodes without waiting for a gesture
    try {
      const sound = (await new OfflineAudioContext(1, 1, 44100).decodeAudioData(bytes)).getChannelData(0), step = sound.length / PEAKS;
      this.peaks = Array.from({ length: PEAKS }, (_, index) => {
        let peak = 0;
        const end = Math.min(sound.length, (index + 1) * step);
        for (let at = Math.floor(index * step); at < end; at++) peak = Math.max(peak, Math.abs(sound[at]));
        return peak;
      });
    } catch {
      this.peaks = null; // it may play all the same; the bars stay flat
    }
    this.draw();
  }
  get seconds() { return Number.isFinite(this.audio.duration) ? this.audio.duration : this.clip.seconds ?? 0; }
  get known() { // seconds played audibly, as far as this page knows
    const { open } = this;
    return join(this.ranges, open && !open.muted && open.visible ? [[open.from, this.audio.currentTime]] : []);
  }
  get local() { return this.seconds ? Math.min(1, this.known.reduce((sum, [from, to]) => sum + to - from, 0) / this.seconds) : 0; }
  // What the server has counted is the truth; while play is under way or unsent, this page's own count runs ahead of it.
  get heard() {
    return this.confirmed === null ? this.local : this.open || this.unsent ? Math.max(this.local, this.confirmed) : this.confirmed;
  }
  get complete() { return this.heard >= this.needed; }
  confirm(share, needed, unsent) {
    Object.assign(this, { confirmed: share ?? this.confirmed, needed: needed ?? this.needed, unsent });
    const short = !this.open && !unsent && this.local >= this.needed && this.confirmed !== null && this.confirmed < this.needed;
    if (short) this.ranges = []; // the server has not counted it all, nor says which part: the whole is offered again
    this.paint();
  }
  toggle() { if (this.audio.paused) this.play(); else this.audio.pause(); }
  play() {
    if (!this.blob || !this.hooks.alive()) return Promise.resolve();
    if (this.audio.ended || this.audio.currentTime > this.seconds - 0.05) this.seek(0);
    if (sounding !== this) sounding?.audio.pause();
    sounding = this;
    this.hooks.log(this.plays && this.audio.currentTime < 0.05 ? 'replay' : 'play', this.clip.n);
    this.plays += 1;
    this.start = this.audio.currentTime; // a busy browser reports the start late, when some sound has been played
    return this.audio.play().catch(error => { // NotAllowed: no gesture yet; Abort: paused before it began
      if (!['NotAllowedError', 'AbortError'].includes(error.name)) this.fail(t('This recording cannot be played here. You may skip it.'));
    });
  }
  replay() { this.seek(0); if (this.audio.paused) this.play(); else this.hooks.log('replay', this.clip.n); }
  seek(seconds) {
    const furthest = this.gated && !this.complete ? this.known.at(-1)?.[1] ?? 0 : this.seconds;
    const playing = !this.audio.paused;
    this.cut(false);
    this.audio.currentTime = Math.max(0, Math.min(seconds, furthest));
    if (playing) this.begin(this.audio.currentTime);
    this.paint();
  }
  wind(event) {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -Infinity,
      End: Infinity }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.hooks.log('seek', this.clip.n);
    this.seek(this.audio.currentTime + by);
  }
  point(event) {
    const box = this.wave.getBoundingClientRect();
    if (event.type === 'pointerdown') this.hooks.log('seek', this.clip.n);
    this.seek(this.seconds * (event.clientX - box.left) / box.width);
  }
  nextRate() {
    this.cut();
    this.audio.playbackRate = RATES[(RATES.indexOf(this.audio.playbackRate) + 1) % RATES.length];
    if (this.open) this.open.rate = this.audio.playbackRate;
    this.paint();
  }
  mute() {
    this.cut();
    this.audio.muted = !this.audio.muted;
    if (this.open) this.open.muted = this.audio.muted;
    this.paint();
  }
  begin(from) {
    this.start = null;
    this.open = { from, rate: this.audio.playbackRate, muted: this.audio.muted, visible: document.visibilityState === 'visible',
      since: performance.now() };
    this.follow();
  }
  cut(again = true) { // ends the played segment and hands it over; play that goes on begins a new one
    if (!this.open) return;
    const { since, ...segment } = this.open, to = this.audio.currentTime;
    const known = this.known;
    this.open = null;
    if (again && !this.audio.paused) this.begin(to);
    if (to - segment.from > 0.02) {
      this.ranges = known;
      this.unsent = true;
      this.hooks.played({ clip: this.clip.n, ...segment, from: rounded(segment.from), to: rounded(to) });
    }
    this.paint();
  }
  advance() {
    if (this.open && performance.now() - this.open.since >= 1000 * REPORT_SECONDS) this.cut();
    this.paint();
    this.hooks.changed();
  }
  follow(open = this.open) { if (open && open === this.open) { this.draw(); requestAnimationFrame(() => this.follow(open)); } }
  paint() {
    const playing = !this.audio.paused, verb = t(playing ? 'Pause {clip}' : 'Play {clip}', { clip: this.clip.label });
    const share = this.heard, at = this.audio.currentTime.toFixed(1), seconds = this.seconds.toFixed(1);
    this.node.dataset.heard = share.toFixed(3);
    relabel(this.playButton, verb, playing ? 'pause' : 'play');
    this.playButton.setAttribute('aria-disabled', String(!this.blob));
    this.wave.setAttribute('aria-valuemax', seconds);
    this.wave.setAttribute('aria-valuenow', at);
    this.wave.setAttribute('aria-valuetext', t('{at} of {seconds} seconds, {percent} % heard', { at, seconds, percent: percent(share) }));
    this.time.textContent = t('{at} / {seconds} s', { at, seconds });
    this.tick.textContent = !this.gated ? '' : this.complete ? t('✓ heard') : t('heard {percent} %', { percent: percent(share) });
    this.tick.classList.toggle('done', this.complete);
    this.paintSettings();
    this.draw();
  }
  paintSettings() {
    const rate = `${this.audio.playbackRate}×`, said = this.audio.muted ? t('Sound on') : t('Mute');
    this.rateButton.textContent = rate;
    this.rateButton.ariaLabel = t('Speed {rate}. Press to change.', { rate });
    relabel(this.muteButton, said, this.audio.muted ? 'muted' : 'sound');
  }
  draw() { // bars of loudness, those heard in the accent colour; the rest, and the playhead, in the text's
    const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = this.canvas,
      ground = this.canvas.getContext('2d');
    if (!width || !height) return;
    const size = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
    if (this.canvas.width !== size.width || this.canvas.height !== size.height) Object.assign(this.canvas, size);
    ground.setTransform(ratio, 0, 0, ratio, 0, 0);
    ground.clearRect(0, 0, width, height);
    const text = getComputedStyle(this.wave).color, accent = getComputedStyle(this.canvas).color;
    const { known } = this, bars = Math.max(1, Math.floor(width / 4));
    const loudest = Math.max(0.05, ...(this.peaks ?? [])); // so that a quiet clip is seen, and silence is not blown up
    for (let bar = 0; bar < bars; bar++) {
      const middle = this.seconds * (bar + 0.5) / bars, heard = known.some(([from, to]) => from <= middle && middle <= to);
      const tall = Math.max(3, (height - 6) * (this.peaks?.[Math.floor(PEAKS * bar / bars)] ?? 0) / loudest);
      ground.globalAlpha = heard ? 1 : 0.3;
      ground.fillStyle = heard ? accent : text;
      ground.fillRect(width * bar / bars, (height - tall) / 2, 2.5, tall);
    }
    ground.globalAlpha = 1;
    ground.fillStyle = text;
    if (this.seconds) ground.fillRect(Math.min(width - 2, width * this.audio.currentTime / this.seconds), 0, 2, height);
  }
  tell(text) { this.note.textContent = text; this.note.hidden = !text; }
  fail(text) { if (this.hooks.alive()) this.tell(text); }
  stop() { this.audio.pause(); this.cut(false); } // cut at once: a page that is going away sees no more events
  close() {
    this.stop();
    this.resized.disconnect();
    if (this.blob) URL.revokeObjectURL(this.blob);
    if (sounding === this) sounding = null;
  }
}

function join(ranges, added) { // the union of [from, to] seconds, in order; a gap of a frame is no gap
  const union = [];
  for (const [from, to] of [...ranges, ...added].sort((one, other) => one[0] - other[0])) {
    const last = union.at(-1);
    if (last && from <= last[1] + 0.03) last[1] = Math.max(last[1], to);
    else union.push([from, to]);
  }
  return union;
}
