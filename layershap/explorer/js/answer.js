// What is known of the set, in figures and sentences.

import { fixed, interval, large, signed } from "./format.js";

const LEARNED = "nll";

/** Shows answers of the game. */
export class Answer {
  constructor(page, game) {
    this.page = page;
    this.game = game;
    const { metric } = game.data;
    this.perplexed = metric === LEARNED;
    page("loss-name").textContent = this.perplexed ? "Loss" : metric;
    page("perplexity-figure").hidden = !this.perplexed;
  }

  /** Shows one answer; `names` are those of the removed players. */
  show(answer, names) {
    const { page, game } = this;
    const { unit, noun } = game.data;
    page("loss").textContent = fixed(answer.value);
    page("loss-range").textContent = this.range(answer, fixed) || unit;
    if (this.perplexed) {
      page("perplexity").textContent = large(Math.exp(answer.value));
      page("perplexity-range").textContent = this.range(answer, (x) => large(Math.exp(x)));
    }
    const badge = page("badge");
    badge.dataset.kind = answer.measured ? "fact" : "prediction";
    badge.textContent = answer.measured ? "✓ measured" : "≈ predicted";
    page("count").textContent = `${answer.removed} of ${game.players} ${noun}s removed`;
    page("set").textContent = names.length ? names.join(", ") : "Nothing: this is the whole model.";
    page("difference").textContent = answer.removed
      ? `${signed(answer.value - game.whole.value, 4)} ${unit} against the whole model (measured ${fixed(game.whole.value)}).`
      : "";
    page("standing").textContent = this.standing(answer);
    page("heldout").textContent = this.heldOut(answer);
    page("repaired").textContent = this.repaired(answer);
    page("why").textContent = answer.verified?.why ?? "";
  }

  /** Returns the answer as a sentence to be read out. */
  spoken(answer) {
    const { unit, noun } = this.game.data;
    const range = this.range(answer, fixed);
    const parts = [
      `${answer.removed} ${noun}${answer.removed === 1 ? "" : "s"} removed.`,
      `${answer.measured ? "Measured" : "Predicted"} ${this.perplexed ? "loss" : this.game.data.metric} ${fixed(answer.value)} ${unit}${range ? `, ${range}` : ""}.`,
    ];
    if (this.perplexed) parts.push(`Perplexity ${large(Math.exp(answer.value))}.`);
    return parts.join(" ");
  }

  range(answer, show) {
    if (answer.measured || answer.lower === null) return "";
    return interval(answer.lower, answer.upper, show);
  }

  standing(answer) {
    const { game } = this;
    const { surrogate } = game;
    const guess = `${fixed(answer.predicted)}${answer.lower === null ? "" : ` (${interval(answer.lower, answer.upper)})`}`;
    if (answer.measured) {
      return `Measured on the calibration text. The surrogate, which has learned from it, says ${guess}.`;
    }
    if (answer.lower === null) return "Predicted; too few sets were measured for an interval.";
    const level = Math.round(100 * surrogate.level);
    const trust = game.data.trust ? ` Predictions are ${game.data.trust}.` : "";
    return `Predicted, with the interval that holds ${level} % of measured sets that cost about as much.${trust} A set picked because it looks good is usually a little worse than predicted.`;
  }

  heldOut({ verified }) {
    if (verified === null) return "";
    const [middle, lower, upper] = verified.difference;
    const speed = verified.decoding === null ? "" : `, decoding ${verified.decoding.toFixed(2)} times as fast`;
    return `✓ Measured on held-out text too (${verified.source}): ${withEnds(middle, lower, upper)} nats per token, perplexity ${large(Math.exp(verified.nll))}${speed}.`;
  }

  repaired({ verified }) {
    const found = verified?.repaired;
    if (!found) return "";
    if (found.method === "none") return "No repair was better than leaving the weights that stay as they are.";
    if (found.cost === null) return "";
    return `✓ Repaired by ${found.method}: ${withEnds(found.cost, found.lower, found.upper)} nats per token instead, ${withEnds(found.gain, found.gain_lower, found.gain_upper)} against no repair on the same text. Add --repair to the export command.`;
  }
}

function withEnds(middle, lower, upper) {
  return lower === null ? signed(middle) : `${signed(middle)} (${signed(lower)} to ${signed(upper)})`;
}
