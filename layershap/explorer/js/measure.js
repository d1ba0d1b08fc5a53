// Asks the query service to measure a set on the real model.

const PAUSE = 500; // milliseconds between looks at how far it is

/** Measures one set at a time; `tell` hears how far it is, `learn` what was found. */
export class Measuring {
  constructor(service, tell, learn) {
    this.base = `${service}/measurements`;
    this.tell = tell;
    this.learn = learn;
    this.busy = false;
  }

  /** Measures a coalition; `names` are those of the players that it leaves out. */
  async measure(kept, names) {
    if (this.busy) return;
    this.busy = true;
    this.tell("Asking for it …");
    try {
      const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ remove: [names] }) };
      let job = await answered(this.base, asked);
      while (job.finished === null) {
        this.tell(progress(job));
        await new Promise((done) => setTimeout(done, PAUSE));
        job = await answered(`${this.base}/${job.id}`);
      }
      const value = job.result?.sets[0].value ?? null;
      if (value === null) throw new Error(job.error ?? `the measurement was ${job.state}, without a finite value`);
      this.busy = false;
      this.tell(`✓ Measured ${names.join(", ")}.`);
      this.learn(kept, value);
    } catch (error) {
      this.busy = false;
      this.tell(`It could not be measured: ${error.message}`);
    }
  }
}

async function answered(address, options) {
  const response = await fetch(address, options);
  const content = await response.json();
  if (!response.ok) throw new Error(content.message ?? response.statusText);
  return content;
}

function progress({ state, progress: so }) {
  if (state === "waiting") return "Waiting for other measurements …";
  if (!so || !so.rate) return "The real model is being loaded …";
  const left = so.seconds_left === null ? "" : `, ${Math.ceil(so.seconds_left)} s left`;
  return `Measured ${so.done} of ${so.total}${left} …`;
}
