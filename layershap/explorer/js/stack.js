// The stack of the model's layers: one button a player, shaded by its value.

import { spread, worth } from "./format.js";

const SHADE_SHARE = 0.9;

/** Draws the stack and tells which player is clicked. */
export class Stack {
  constructor(list, data, toggle) {
    this.buttons = [];
    this.scale = shadeScale(data.values?.values ?? []);
    for (const row of data.stack) {
      const item = document.createElement("li");
      if (row.parts.length > 1) item.append(element("span", "layer", row.name));
      const inside = row.parts.length > 1 ? `${row.name}.` : "";
      for (const part of row.parts) item.append(this.part(part, inside, data, toggle));
      list.append(item);
    }
    list.addEventListener("keydown", (event) => this.move(event));
  }

  /** Shows a set. */
  show(kept) {
    this.buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", String(!kept[i]));
      button.querySelector(".gone").hidden = Boolean(kept[i]);
    });
  }

  // A half says its own name alone; that of its layer stands before both.
  part(part, inside, data, toggle) {
    const name = element("span", "name", part.name.slice(inside.length));
    if (part.player === null) {
      const held = element("span", "held");
      held.append(element("span", "hidden", inside), name, element("span", "worth", "protected"));
      return held;
    }
    const i = part.player;
    const button = element("button", "player");
    button.type = "button";
    button.dataset.player = i;
    const value = data.values?.values[i];
    button.append(element("span", "hidden", `Remove ${inside}`), name);
    if (value !== undefined) {
      const [lower, upper] = [data.values.lower[i], data.values.upper[i]];
      const error = lower === null || upper === null ? "" : ` ± ${spread((upper - lower) / 2, data.values.of)}`;
      const shown = element("span", "worth", worth(value, data.values.of));
      shown.prepend(element("span", "hidden", ", worth "));
      shown.append(element("small", "", error));
      button.append(shown);
      button.style.setProperty("--shade", this.scale(value).toFixed(4));
    }
    const gone = element("span", "gone", "removed");
    gone.setAttribute("aria-hidden", "true");
    button.append(gone);
    button.addEventListener("click", () => toggle(i));
    this.buttons[i] = button;
    return button;
  }

  move(event) {
    const at = this.buttons.indexOf(document.activeElement);
    const last = this.buttons.length - 1;
    const goals = { ArrowDown: at + 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowLeft: at - 1 };
    const goal = { ...goals, Home: 0, End: last }[event.key];
    if (at < 0 || goal === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.buttons[Math.min(Math.max(goal, 0), last)].focus();
  }
}

/** Returns what maps values to shades from 0 to 1; the largest tenth shares the darkest shade. */
export function shadeScale(values) {
  const { low, high } = shadeEnds(values);
  return (value) => (high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0);
}

/** Returns the values of the palest and the darkest shade. */
export function shadeEnds(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const last = sorted.length - 1;
  return { low: sorted[0], high: sorted[Math.floor(SHADE_SHARE * last)], top: sorted[last] };
}

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}
