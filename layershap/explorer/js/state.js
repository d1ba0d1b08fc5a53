// The set that is looked at, the way there, and the link that holds it.

import { removedPlayers } from "./game.js";

/** Sets with undo and redo. */
export class History {
  constructor(start) {
    this.steps = [start];
    this.at = 0;
  }

  get now() {
    return this.steps[this.at];
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.steps.length - 1;
  }

  /** Goes on from here; what was undone is forgotten. */
  push(kept) {
    if (kept.join() === this.now.join()) return;
    this.steps = [...this.steps.slice(0, this.at + 1), kept];
    this.at += 1;
  }

  undo() {
    if (this.canUndo) this.at -= 1;
  }

  redo() {
    if (this.canRedo) this.at += 1;
  }
}

/** Returns a player's name as the command line takes it: 4, 4-6 or L4.attn. */
export function shortName(name) {
  return name.includes(".") ? name : name.replace(/^L/, "");
}

/** Returns the removed players as the command line takes them. */
export function removedNames(kept, players) {
  return removedPlayers(kept).map((i) => shortName(players[i]));
}

/** Returns the part of a link that holds a set. */
export function toHash(kept, players) {
  return "#remove=" + removedNames(kept, players).map(encodeURIComponent).join(",");
}

/** Returns the set that a link holds, and the names in it that no player has. */
export function fromHash(hash, players) {
  const kept = new Uint8Array(players.length).fill(1);
  const unknown = [];
  const places = new Map();
  players.forEach((name, i) => places.set(name, i).set(shortName(name), i));
  const text = new URLSearchParams(hash.replace(/^#/, "")).get("remove") ?? "";
  for (const name of text.split(",").map((part) => part.trim()).filter(Boolean)) {
    if (places.has(name)) kept[places.get(name)] = 0;
    else unknown.push(name);
  }
  return { kept, unknown };
}

/** Returns the command that writes the checkpoint without the removed players. */
export function exportCommand(run, kept, players) {
  const names = removedNames(kept, players);
  const target = `${run}-without-${names.join("-")}`;
  return `layershap export ${quoted(run)} --remove ${names.join(",")} --to ${quoted(target)}`;
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
