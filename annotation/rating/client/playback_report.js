// What was played, reported to the server, which answers with the share that it counts.

const HEARTBEAT_SECONDS = 60; // keeps the lease while nothing is played

class PlaybackReport {
  constructor(item, players, draft) {
    Object.assign(this, { item, players, draft, line: Promise.resolve(), accepted: performance.now(), tried: performance.now() });
  }
  add(segment) {
    this.draft.unsent.push(segment);
    this.draft.proofs[segment.clip] ??= this.players[segment.clip].proof; // a reload fetches anew: what was heard before counts by this
    this.draft.ranges[segment.clip] = this.players[segment.clip].ranges;
    this.draft.keep();
  }
  // Reports go one after another; a failure is the caller's to handle, and does not hold up the next.
  send(evenIfEmpty = false) {
    const report = this.line.then(() => this.post(evenIfEmpty));
    this.line = report.catch(() => {});
    return report;
  }
  async post(evenIfEmpty) {
    const played = this.draft.unsent.slice();
    if (!played.length && !evenIfEmpty) return;
    this.tried = performance.now();
    const fetched = Object.fromEntries(this.players.filter(player => player.proof).map(player => [player.clip.n, player.proof]));
    const proofs = { ...fetched, ...this.draft.proofs };
    const answer = await ask('heard', { assignment: this.item.assignment, receipt: this.draft.receipt, proofs, played });
    this.draft.unsent.splice(0, played.length);
    this.draft.receipt = answer.receipt;
    this.draft.keep();
    this.accepted = performance.now();
    this.players.forEach(player => player.confirm(answer.heard?.[player.clip.n], answer.needed, this.waiting(player)));
  }
  waiting(player) { return this.draft.unsent.some(segment => segment.clip === player.clip.n); }
  get due() {
    const now = performance.now(), beat = now - Math.max(this.accepted, this.tried) >= 1000 * HEARTBEAT_SECONDS;
    return beat || (this.draft.unsent.length > 0 && now - this.tried >= 1000 * REPORT_SECONDS);
  }
}
