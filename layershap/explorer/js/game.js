// What is known of a set: measured, which is a fact, or predicted.

import { coalitions, numbers } from "./decode.js";
import { Surrogate, removedCount } from "./surrogate.js";

/** Answers questions about coalitions in the units of the measured quantity. */
export class Game {
  constructor(data) {
    this.data = data;
    this.players = data.players.length;
    this.surrogate = new Surrogate(data.surrogate, this.players);
    const utilities = numbers(data.measured.utilities);
    const rows = coalitions(data.measured.coalitions);
    this.measured = rows.map((kept, row) => ({
      kept,
      removed: removedCount(kept),
      utility: utilities[row],
      value: data.sign * utilities[row],
    }));
    this.known = new Map(this.measured.map((item) => [item.kept.join(""), item]));
    this.whole = this.known.get(new Uint8Array(this.players).fill(1).join(""));
    this.verified = new Map(data.verified.map((item) => [item.removed.join(), item]));
    this.best = this.bestBySize();
  }

  /** Returns all that is known of a set; higher `utility` is better, `value` is what is shown. */
  ask(kept) {
    const { sign } = this.data;
    const fact = this.known.get(kept.join(""));
    const utility = this.surrogate.predict(kept);
    const ends = this.surrogate.interval(utility);
    if (ends !== null && sign < 0) ends.reverse();
    const predicted = sign * utility;
    return {
      removed: removedCount(kept),
      measured: fact !== undefined,
      utility: fact ? fact.utility : utility,
      value: fact ? fact.value : predicted,
      predicted,
      lower: ends === null ? null : sign * ends[0],
      upper: ends === null ? null : sign * ends[1],
      verified: this.verified.get(removedPlayers(kept).join()) ?? null,
    };
  }

  /** Takes over that a set was measured. */
  learn(kept, value) {
    const item = { kept, removed: removedCount(kept), utility: this.data.sign * value, value };
    const key = kept.join("");
    this.measured = [...this.measured.filter((known) => known.kept.join("") !== key), item];
    this.known.set(key, item);
    this.best = this.bestBySize();
  }

  bestBySize() {
    const best = new Array(this.players + 1).fill(null);
    for (const item of this.measured) {
      const so = best[item.removed];
      if (so === null || item.utility > so.utility) best[item.removed] = item;
    }
    return best;
  }
}

/** Returns the places of the players that a coalition leaves out. */
export function removedPlayers(kept) {
  return Array.from(kept.keys()).filter((i) => !kept[i]);
}

/** Returns a copy of a coalition with some players changed over. */
export function flipped(kept, ...players) {
  const result = Uint8Array.from(kept);
  for (const i of players) result[i] = 1 - result[i];
  return result;
}
