// The frontier as a table: the best measured set of each size, each a click away.

import { fixed, large, signed } from "./format.js";
import { removedPlayers } from "./game.js";

/** Fills the body of the table. */
export function fillTable(body, game, pick) {
  const { players, metric } = game.data;
  body.replaceChildren();
  for (const item of game.best) {
    if (item === null || item.removed === game.players) continue;
    const row = body.insertRow();
    const names = removedPlayers(item.kept).map((i) => players[i]);
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = item.removed;
    row.append(head);
    const cell = row.insertCell();
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = names.join(", ") || "whole model";
    button.addEventListener("click", () => pick(item.kept));
    cell.append(button);
    row.insertCell().textContent = fixed(item.value);
    row.insertCell().textContent = signed(item.value - game.whole.value);
    if (metric === "nll") row.insertCell().textContent = large(Math.exp(item.value));
    const verified = game.verified.get(removedPlayers(item.kept).join());
    row.insertCell().textContent = verified ? signed(verified.difference[0]) : "–";
  }
}
