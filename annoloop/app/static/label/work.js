// One image in hand: what is drawn, how long it took, and bringing it to the server's disk.

import { History } from "./boxes.js";
import { ask, Away, Refused, wait } from "./server.js";

const IDLE_MS = 60_000; // longer without a key or a pointer is no work
const SOON_MS = 300, AGAIN_MS = 1500;

export class Work {
  /** `say(kind, text)` hears how saving goes: saving, saved, away, refused. */
  constructor(desk, task, say) {
    this.desk = desk;
    this.task = task;
    this.say = say;
    this.history = new History(task.boxes);
    this.revision = task.revision;
    this.tab = desk.tab;
    this.why = task.why;
    this.seconds = task.seconds;
    this.changes = 0;
    this.savedChanges = 0;
    this.running = null;
    this.ended = false;
    this.since = performance.now();
    this.lastAct = this.since;
    this.lastSave = this.since;
  }

  get rows() {
    return this.history.now;
  }

  /** Somebody is here: the clock runs on. */
  act() {
    const now = performance.now();
    if (now - this.lastAct < IDLE_MS) this.seconds += (now - this.lastAct) / 1000;
    this.lastAct = now;
    // Looking without drawing keeps the lease too, once half of it has gone by.
    if (now - this.lastSave > this.desk.leaseMs / 2 && !this.ended) this.changed();
  }

  body(answer) {
    return { who: this.desk.who, boxes: this.rows, seconds: this.seconds, tab: this.tab, revision: this.revision, why: this.why, ...(answer ? { answer } : {}) };
  }

  keep(answer = null) {
    return this.desk.kept.put(this.task.number, { ...this.body(), answer });
  }

  changed() {
    this.changes += 1;
    this.lastSave = performance.now();
    this.safe = this.keep();
    this.say("saving", "Saving …");
    this.running ??= this.save().finally(() => { this.running = null; });
  }

  async save() {
    await wait(SOON_MS);
    while (this.savedChanges < this.changes && !this.ended) {
      const sent = this.changes;
      if (!(await this.send("draft", this.body()))) return;
      this.savedChanges = sent;
      if (sent === this.changes && !this.ended) this.desk.kept.drop(this.task.number);
    }
    if (!this.ended) this.say("saved", `Saved ${new Date().toLocaleTimeString()}`);
  }

  /** Bring it over, however long the server is away. False if the server says no. */
  async send(what, body) {
    for (;;) {
      try {
        const saved = await ask(`${this.desk.api}/${this.task.number}/${what}`, body);
        this.revision = saved.revision;
        this.lastSave = performance.now();
        return saved;
      } catch (error) {
        if (error instanceof Refused) {
          this.taken = error.status === 409;
          this.say("refused", error.message);
          return null;
        }
        if (!(error instanceof Away)) throw error;
        const where = this.safe === false ? "This browser cannot keep it: leave the page open" : "It is kept in this browser";
        this.say("away", `Not saved: ${error.message}. ${where}; trying again.`);
        await wait(AGAIN_MS);
      }
    }
  }

  /** The answer, once it is on the server's disk; null if the server refused it. */
  async answer(kind) {
    this.act();
    this.ended = true; // no draft may follow
    this.safe = this.keep(kind);
    this.say("saving", "Saving …");
    await this.running;
    const saved = await this.send("answer", this.body(kind));
    if (!saved) {
      this.ended = false;
      this.keep();
      return null;
    }
    this.desk.kept.drop(this.task.number);
    this.say("saved", `Saved ${new Date().toLocaleTimeString()}`);
    return saved;
  }

  /** Whether another image may be taken up: what is drawn is saved, or is no longer theirs to save. */
  async settle() {
    await this.running;
    return this.taken || this.savedChanges === this.changes;
  }
}
