// The page: one set, shown everywhere at once.

import { Answer } from "./answer.js";
import { Frontier } from "./chart.js";
import { fixed, interval, signed, worth } from "./format.js";
import { Game, flipped, removedPlayers } from "./game.js";
import { HintSearch } from "./hints.js";
import { Measuring } from "./measure.js";
import { Stack, shadeEnds } from "./stack.js";
import { History, exportCommand, fromHash, toHash } from "./state.js";
import { fillTable } from "./table.js";

const TOLERANCE = 1e-4;
const QUIET = 250; // milliseconds without a change before the answer is read out

const page = (id) => document.getElementById(id);
const data = JSON.parse(page("data").textContent);
const game = new Game(data);
const { players } = data;
const everyone = new Uint8Array(players.length).fill(1);

const linked = fromHash(location.hash, players);
const history = new History(linked.kept);
const stack = new Stack(page("stack"), data, (i) => go(flipped(history.now, i)));
const answer = new Answer(page, game);
const chart = new Frontier(page("chart"), page("tip"), game, go);
const hints = new HintSearch(game, tellHints);
const measuring = data.measures ? new Measuring(data.service, tellMeasuring, learn) : null;
let reading = null;

function go(kept) {
  history.push(Uint8Array.from(kept));
  show();
}

function show({ quiet = false } = {}) {
  const kept = history.now;
  const found = game.ask(kept);
  const removed = removedPlayers(kept);
  const all = removed.length === players.length;
  stack.show(kept);
  answer.show(found, removed.map((i) => players[i]));
  chart.show(found);
  disable(page("undo"), !history.canUndo);
  disable(page("redo"), !history.canRedo);
  disable(page("reset"), removed.length === 0);
  page("command").textContent = removed.length && !all ? exportCommand(data.run, kept, players) : "";
  page("export").hidden = !removed.length || all;
  page("no-export").hidden = !page("export").hidden;
  page("measure-row").hidden = measuring === null || all;
  disable(page("measure"), found.measured || measuring?.busy);
  const hash = toHash(kept, players);
  if (location.hash !== hash && (removed.length || location.hash)) window.history.replaceState(null, "", hash);
  // Until the new ones are found, the old ones lead nowhere.
  for (const kind of ["remove", "swap"]) page(`hint-${kind}`).onclick = null;
  hints.start(kept);
  if (!quiet) say(answer.spoken(found));
}

// aria-disabled keeps the focus where it is when the last step is undone.
function disable(button, off) {
  button.setAttribute("aria-disabled", String(off));
}

function press(id, action) {
  page(id).addEventListener("click", () => {
    if (page(id).getAttribute("aria-disabled") !== "true") action();
  });
}

function say(text) {
  clearTimeout(reading);
  reading = setTimeout(() => {
    page("live").textContent = text;
  }, QUIET);
}

function tellMeasuring(text) {
  page("measure-note").textContent = text;
  disable(page("measure"), measuring.busy || game.ask(history.now).measured);
}

function learn(kept, value) {
  game.learn(kept, value);
  chart.refresh();
  fillTable(page("sizes"), game, go);
  show();
}

function tellHints(best, here) {
  fillHint("remove", best.remove, here, (step) => `Remove ${players[step.players[0]]}`);
  fillHint("swap", best.swap, here, ({ players: [back, out] }) => `Put ${players[back]} back, remove ${players[out]}`);
}

function fillHint(kind, step, here, words) {
  const button = page(`hint-${kind}`);
  const note = page(`hint-${kind}-note`);
  button.hidden = step === null;
  if (step === null) {
    const none = here.removed ? "No single swap is known or predicted to be better." : "Remove something first.";
    note.textContent = kind === "swap" ? none : "Nothing more can be removed.";
    return;
  }
  const { answer: found } = step;
  button.textContent = words(step);
  button.onclick = () => go(flipped(history.now, ...step.players));
  const range = found.measured || found.lower === null ? "" : ` (${interval(found.lower, found.upper, (x) => fixed(x, 3))})`;
  note.textContent = `${found.measured ? "✓ measured" : "≈ predicted"} ${fixed(found.value, 3)}${range}, ${signed(found.value - here.value)} from here`;
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages opened from a file may not use the clipboard directly.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  clearTimeout(reading);
  page("live").textContent = `${what} copied.`;
  page("copied").textContent = `${what} copied.`;
  setTimeout(() => (page("copied").textContent = ""), 2000);
}

function legend() {
  if (!data.values) {
    page("legend").hidden = true;
    return;
  }
  const { of, title, facts, values } = data.values;
  const { low, high, top } = shadeEnds(values);
  page("value-title").textContent = title;
  page("low").textContent = worth(low, of);
  page("high").textContent = worth(high, of) + (top > high ? " and more" : "");
  page("value-facts").textContent = facts.map((fact) => `${fact[0].toUpperCase()}${fact.slice(1)}.`).join(" ");
}

press("undo", () => (history.undo(), show()));
press("redo", () => (history.redo(), show()));
press("reset", () => go(everyone));
press("measure", () => {
  const kept = history.now;
  measuring.measure(kept, removedPlayers(kept).map((i) => players[i]));
});
page("copy-command").addEventListener("click", (event) => {
  copy(page("command").textContent, "Export command").then(() => event.target.focus());
});
page("copy-link").addEventListener("click", (event) => {
  const link = location.href.split("#")[0] + toHash(history.now, players);
  copy(link, "Link").then(() => event.target.focus());
});
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) history.undo();
  else if (key === "y" || (key === "z" && event.shiftKey)) history.redo();
  else return;
  event.preventDefault();
  show();
});
addEventListener("hashchange", () => go(fromHash(location.hash, players).kept));

legend();
fillTable(page("sizes"), game, go);
page("ppl-head").hidden = data.metric !== "nll";
if (data.service) {
  page("service").href = `${data.service}/docs`;
  page("service").hidden = false;
}
const apart = game.surrogate.largestDifference();
page("check").textContent =
  apart <= TOLERANCE
    ? `This page predicts by itself. It agrees with Python within ${apart.toExponential(0)} on the ${data.surrogate.checks.coalitions.shape[0]} sets that came with it.`
    : `Careful: this page computes in double precision, and Python's single precision differs from it by up to ${apart.toPrecision(2)} ${data.unit}.`;
page("check").dataset.difference = apart;
show({ quiet: true });
if (linked.unknown.length) {
  const text = `The link names ${linked.unknown.join(", ")}, which this model does not have; the rest is shown.`;
  page("problem").textContent = text;
  page("problem").hidden = false;
}
document.documentElement.dataset.ready = "true";
