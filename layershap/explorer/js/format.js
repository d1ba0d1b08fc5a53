// Numbers as people read them.

const MINUS = "\u2212";

/** Returns a number with a fixed number of digits after the point. */
export function fixed(value, digits = 4) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** Returns a number that always shows its sign. */
export function signed(value, digits = 3) {
  const text = fixed(value, digits);
  return text.startsWith(MINUS) ? text : "+" + text;
}

/** Returns a perplexity: two digits after the point while it is small, then three in all. */
export function large(value) {
  if (!Number.isFinite(value)) return "too large";
  if (value < 1000) return fixed(value, 2);
  if (value < 1e6) return Math.round(value).toLocaleString("en");
  const power = Math.floor(Math.log10(value));
  return `${(value / 10 ** power).toFixed(1)} × 10^${power}`;
}

/** Returns both ends of an interval. */
export function interval(lower, upper, show = fixed) {
  return `${show(lower)} to ${show(upper)}`;
}

/** Returns a value as people read it: a share in percent, or signed nats. */
export function worth(value, of) {
  if (of === "loss") return signed(value);
  return `${percent(value)} %`;
}

/** Returns half the width of a value's interval in the same manner. */
export function spread(half, of) {
  return of === "loss" ? fixed(half, 3) : percent(half);
}

// A digit more where it is small.
function percent(share) {
  const value = 100 * share;
  return fixed(value, Math.abs(value) >= 0.995 ? 1 : 2);
}
