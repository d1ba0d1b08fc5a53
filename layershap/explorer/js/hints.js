// The best next removal and the best swap, looked for in slices so that no click has to wait.

import { flipped, removedPlayers } from "./game.js";

const SLICE = 12; // milliseconds

/** Looks at every set that is one step away, and tells the best of each kind. */
export class HintSearch {
  constructor(game, tell) {
    this.game = game;
    this.tell = tell;
    this.timer = null;
  }

  /** Begins anew from a set; what was under way is dropped. */
  start(kept) {
    clearTimeout(this.timer);
    const steps = neighbours(kept);
    const best = { remove: null, swap: null };
    const here = this.game.ask(kept);
    const work = () => {
      const end = performance.now() + SLICE;
      while (performance.now() < end) {
        const { value: step, done } = steps.next();
        if (done) {
          if (best.swap && best.swap.answer.utility <= here.utility) best.swap = null;
          this.tell(best, here);
          return;
        }
        const answer = this.game.ask(flipped(kept, ...step.players));
        const so = best[step.kind];
        if (so === null || answer.utility > so.answer.utility) best[step.kind] = { ...step, answer };
      }
      this.timer = setTimeout(work);
    };
    this.timer = setTimeout(work);
  }
}

function* neighbours(kept) {
  const removed = removedPlayers(kept);
  const present = Array.from(kept.keys()).filter((i) => kept[i]);
  // Something has to be left of the model.
  if (present.length > 1) for (const out of present) yield { kind: "remove", players: [out] };
  for (const back of removed) {
    for (const out of present) yield { kind: "swap", players: [back, out] };
  }
}
