// The surrogate in the browser: what surrogate/ensemble/prediction.py computes, in doubles.

import { coalitions, numbers } from "./decode.js";

/** Predicts the utility of any coalition: a row of 0 and 1, one a player, 1 = kept. */
export class Surrogate {
  constructor(data, players) {
    this.players = players;
    this.warp = data.warp;
    this.level = data.level;
    this.halfWidths = data.half_widths;
    this.checks = data.checks;
    this.learners = {};
    for (const [learner, arrays] of Object.entries(data.learners)) {
      const parts = {};
      for (const [name, packed] of Object.entries(arrays)) parts[name] = numbers(packed);
      this.learners[learner] = parts;
    }
    this.signs = new Float64Array(players);
  }

  /** Returns the predicted utility: higher is better. */
  predict(kept) {
    return this.toUtility(this.scaled(kept));
  }

  /** Returns lower and upper utility of the interval around a prediction, or null without one. */
  interval(utility) {
    if (this.halfWidths === null) return null;
    const place = this.toScale(utility);
    const half = interpolated(place, this.halfWidths.places, this.halfWidths.halves);
    return [this.toUtility(place + half), this.toUtility(place - half)];
  }

  /** Returns the largest difference from Python on the coalitions that came with the weights. */
  largestDifference() {
    const wanted = numbers(this.checks.predictions);
    const found = coalitions(this.checks.coalitions).map((kept) => this.predict(kept));
    return Math.max(...found.map((value, row) => Math.abs(value - wanted[row])));
  }

  toScale(utility) {
    const { whole, unit, kind } = this.warp;
    const excess = (whole - utility) / unit;
    return kind === "raw" || excess < 0 ? excess : Math.log1p(excess);
  }

  toUtility(place) {
    const { whole, unit, kind } = this.warp;
    const excess = kind === "raw" || place < 0 ? place : Math.expm1(Math.min(place, 80));
    return whole - unit * excess;
  }

  scaled(kept) {
    for (let i = 0; i < this.players; i++) this.signs[i] = kept[i] ? 1 : -1;
    const { mixture, networks: members } = this.learners;
    const near = this.learners["near process"];
    const process = this.process(this.learners.process, kept);
    const networks = members
      ? mixture.level[0] + mixture.spread[0] * this.networks(members, kept)
      : process;
    let beside = process;
    if (near) {
      const lost = -Math.log(Math.max(this.process(near, kept), mixture.least[0]));
      beside = mixture.logarithm[0] && lost >= 0 ? Math.log1p(lost) : lost;
    }
    const far = mixture.far[0] * process + mixture.far[1] * networks;
    const close = mixture.near[0] * beside + mixture.near[1] * networks;
    const gate = 1 / (1 + Math.exp((far - mixture.meeting[0]) / mixture.passage[0]));
    return far + gate * (close - far);
  }

  process({ bias, linear, sizes, metric, lean, level, centres, heights }, kept) {
    const { signs, players: n } = this;
    const parts = level.length;
    const points = heights.length / parts;
    let total = bias[0] + sizes[n - removedCount(kept)];
    for (let i = 0; i < n; i++) total += signs[i] * linear[i];
    // What two sets are compared by: signs, and which neighbours are alike.
    const compared = new Float64Array(2 * n - 1);
    for (let i = 0; i < n; i++) compared[i] = signs[i];
    for (let i = 0; i + 1 < n; i++) compared[n + i] = signs[i] * signs[i + 1];
    for (let c = 0; c < parts; c++) {
      let own = level[c];
      for (let i = 0; i < n; i++) {
        let row = lean[c * n + i];
        for (let j = 0; j < n; j++) row += metric[(c * n + i) * n + j] * signs[j];
        own += signs[i] * row;
      }
      const exponents = new Float64Array(points).fill(own);
      compared.forEach((value, f) => {
        const row = (c * compared.length + f) * points;
        for (let p = 0; p < points; p++) exponents[p] += value * centres[row + p];
      });
      for (let p = 0; p < points; p++) total += Math.exp(exponents[p]) * heights[c * points + p];
    }
    return total;
  }

  networks({ start, read, offset, write, out, linear, bias }, kept) {
    const { signs, players: n } = this;
    const members = bias.length;
    const width = start.length / members;
    const hidden = new Float64Array(width);
    let total = 0;
    for (let k = 0; k < members; k++) {
      const state = Float64Array.from(start.subarray(k * width, (k + 1) * width));
      for (let i = 0; i < n; i++) {
        total += signs[i] * linear[k * n + i];
        if (!kept[i]) continue;
        const place = (k * n + i) * width;
        for (let v = 0; v < width; v++) {
          let sum = offset[place + v];
          for (let w = 0; w < width; w++) sum += state[w] * read[(place + w) * width + v];
          hidden[v] = Math.tanh(sum);
        }
        for (let v = 0; v < width; v++) {
          for (let w = 0; w < width; w++) state[w] += hidden[v] * write[(place + v) * width + w];
        }
      }
      for (let w = 0; w < width; w++) total += state[w] * out[k * width + w];
      total += bias[k];
    }
    return total / members;
  }
}

/** Returns what lies at a place between knots, linearly; beyond the ends, what lies there. */
function interpolated(place, places, values) {
  const last = places.length - 1;
  if (place <= places[0]) return values[0];
  if (place >= places[last]) return values[last];
  const next = places.findIndex((knot) => knot > place);
  const along = (place - places[next - 1]) / (places[next] - places[next - 1]);
  return values[next - 1] + along * (values[next] - values[next - 1]);
}

/** Returns how many players a coalition leaves out. */
export function removedCount(kept) {
  let count = 0;
  for (const bit of kept) count += 1 - bit;
  return count;
}
