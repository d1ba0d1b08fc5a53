// The surrogate in the browser: the sum that surrogate/prediction.py computes, in doubles.

import { coalitions, numbers } from "./decode.js";

/** Predicts the utility of any coalition: a row of 0 and 1, one a player, 1 = kept. */
export class Surrogate {
  constructor(data, players) {
    this.players = players;
    this.mean = data.mean;
    this.scale = data.scale;
    this.level = data.level;
    this.half = data.half;
    this.checks = data.checks;
    const parts = {};
    for (const [name, packed] of Object.entries(data.arrays)) parts[name] = numbers(packed);
    this.parts = parts;
    const [members, width] = data.arrays.second_bias.shape;
    this.members = members;
    this.width = width;
    this.points = parts.heights ? parts.heights.length : 0;
    this.tables = parts.starts ? parts.starts.length : 0;
    this.signs = new Float64Array(players);
    this.exponents = new Float64Array(this.points);
    this.hidden = new Float64Array(members * width);
    this.places = new Float64Array(this.tables);
  }

  /** Returns the predicted utility: higher is better. */
  predict(kept) {
    for (let i = 0; i < this.players; i++) this.signs[i] = kept[i] ? 1 : -1;
    const total =
      this.quadratic() + this.bySize(kept) + this.networks() + this.process() + this.trees(kept);
    return this.mean + this.scale * total;
  }

  /** Returns half the width of the interval, or null where there are too few measurements. */
  halfWidth(kept) {
    return this.half === null ? null : this.half[removedCount(kept)];
  }

  /** Returns the largest difference from Python on the coalitions that came with the weights. */
  largestDifference() {
    const wanted = numbers(this.checks.predictions);
    const found = coalitions(this.checks.coalitions).map((kept) => this.predict(kept));
    return Math.max(...found.map((value, row) => Math.abs(value - wanted[row])));
  }

  quadratic() {
    const { signs, players: n } = this;
    const { bias, linear, pairs } = this.parts;
    let total = bias[0];
    for (let i = 0; i < n; i++) {
      let row = linear[i];
      for (let j = 0; j < n; j++) row += pairs[i * n + j] * signs[j];
      total += signs[i] * row;
    }
    return total;
  }

  bySize(kept) {
    return this.parts.sizes[this.players - removedCount(kept)];
  }

  networks() {
    const { signs, players: n, members, width, hidden } = this;
    const { first, first_bias: firstBias, second, second_bias: secondBias, last } = this.parts;
    const across = members * width;
    hidden.set(firstBias);
    for (let i = 0; i < n; i++) {
      for (let u = 0; u < across; u++) hidden[u] += signs[i] * first[i * across + u];
    }
    for (let u = 0; u < across; u++) hidden[u] = Math.tanh(hidden[u]);
    let total = 0;
    const inner = new Float64Array(width);
    for (let k = 0; k < members; k++) {
      inner.set(secondBias.subarray(k * width, (k + 1) * width));
      for (let u = 0; u < width; u++) {
        const row = (k * width + u) * width;
        for (let v = 0; v < width; v++) inner[v] += hidden[k * width + u] * second[row + v];
      }
      for (let v = 0; v < width; v++) total += Math.tanh(inner[v]) * last[k * width + v];
    }
    return total;
  }

  process() {
    const { signs, players: n, points, exponents } = this;
    if (!points) return 0;
    const { centres, heights } = this.parts;
    exponents.fill(0);
    for (let i = 0; i < n; i++) {
      const row = i * points;
      for (let p = 0; p < points; p++) exponents[p] += signs[i] * centres[row + p];
    }
    let total = 0;
    for (let p = 0; p < points; p++) total += Math.exp(exponents[p]) * heights[p];
    return total;
  }

  trees(kept) {
    const { players: n, tables, places } = this;
    if (!tables) return 0;
    const { powers, starts, leaves } = this.parts;
    places.set(starts);
    for (let i = 0; i < n; i++) {
      if (kept[i]) for (let t = 0; t < tables; t++) places[t] += powers[i * tables + t];
    }
    let total = 0;
    for (let t = 0; t < tables; t++) total += leaves[places[t]];
    return total;
  }
}

/** Returns how many players a coalition leaves out. */
export function removedCount(kept) {
  let count = 0;
  for (const bit of kept) count += 1 - bit;
  return count;
}
