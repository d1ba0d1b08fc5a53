// The frontier: every measured set, the best of each size, and the set that is looked at.

import { fixed, signed } from "./format.js";

const HEIGHT = 300;
const REACH = 14; // pixels within which a dot is pointed at

/** Draws the frontier with uPlot (https://github.com/leeoniya/uPlot). */
export class Frontier {
  constructor(place, tip, game, pick) {
    this.place = place;
    this.tip = tip;
    this.game = game;
    this.pick = pick;
    this.plot = null;
    this.refresh();
    this.own = null;
    const redraw = () => this.rebuild();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new ResizeObserver(() => {
      if (this.plot && place.clientWidth !== this.plot.width) {
        this.plot.setSize({ width: place.clientWidth, height: HEIGHT });
      }
    }).observe(place);
  }

  /** Takes the measured sets anew. */
  refresh() {
    this.measured = [...this.game.measured].sort((a, b) => a.removed - b.removed);
    this.plot?.setData(this.columns(), false);
  }

  /** Marks a set. */
  show(answer) {
    this.own = answer;
    const last = this.lastSize();
    const range = this.range(last);
    this.bounds = { last, range };
    this.place.setAttribute("aria-label", this.words());
    if (this.plot === null) this.rebuild();
    else {
      // In one batch, so that the dots are drawn once.
      this.plot.batch(() => {
        this.plot.setScale("x", { min: -0.3, max: last + 0.3 });
        this.plot.setScale("y", { min: range[0], max: range[1] });
      });
    }
  }

  words() {
    const { own, game } = this;
    const best = game.best[own.removed];
    const there = best
      ? `The best measured set with ${own.removed} removed has ${fixed(best.value)}.`
      : `No set with ${own.removed} removed was measured.`;
    return `Frontier: ${game.data.unit} by number removed. Your set: ${own.measured ? "measured" : "predicted"} ${fixed(own.value)}. ${there} The table below has all numbers.`;
  }

  lastSize() {
    const n = this.game.players;
    const asked = Math.max(0, ...this.game.data.verified.map((item) => item.removed.length));
    return Math.min(n, Math.max(asked + 2, this.own.removed + 1, Math.min(4, n)));
  }

  range(last) {
    const { own, game } = this;
    const shown = game.best.slice(0, last + 1).filter(Boolean).map((item) => item.value);
    shown.push(own.value);
    if (!own.measured && own.lower !== null) shown.push(own.lower, own.upper);
    const [low, high] = [Math.min(...shown), Math.max(...shown)];
    const room = 0.08 * (high - low) || 0.1;
    return [low - room, high + room];
  }

  rebuild() {
    this.plot?.destroy();
    const colour = (name) => getComputedStyle(this.place).getPropertyValue(name).trim();
    const ink = { stroke: colour("--muted"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 } };
    const font = '12px system-ui, "DejaVu Sans", sans-serif';
    const axis = { ...ink, font, labelFont: font, labelSize: 22 };
    const { data } = this.game;
    const { last, range } = this.bounds;
    this.colours = { best: colour("--fact"), own: colour("--own"), paper: colour("--card") };
    const options = {
      width: this.place.clientWidth,
      height: HEIGHT,
      scales: {
        x: { time: false, auto: false, min: -0.3, max: last + 0.3 },
        y: { auto: false, min: range[0], max: range[1] },
      },
      axes: [
        { ...axis, label: `${data.noun}s removed`, size: 32, incrs: [1, 2, 5, 10, 20] },
        { ...axis, label: data.unit, size: 56 },
      ],
      legend: { show: false },
      cursor: { points: { show: false }, drag: { x: false, y: false }, x: false, y: false },
      series: [
        {},
        { stroke: null, paths: () => null, points: { show: true, size: 5, width: 1, stroke: colour("--dot"), fill: colour("--card") } },
        { stroke: this.colours.best, width: 2, spanGaps: true, points: { show: true, size: 8, fill: this.colours.best, stroke: this.colours.best } },
      ],
      hooks: {
        draw: [(plot) => this.mark(plot)],
        setCursor: [(plot) => this.point(plot)],
      },
    };
    this.plot = new uPlot(options, this.columns(), this.place);
    this.plot.over.addEventListener("click", () => this.pointed && this.pick(this.pointed.kept));
  }

  columns() {
    const best = new Set(this.game.best.filter(Boolean));
    const items = this.measured;
    return [
      items.map((item) => item.removed),
      items.map((item) => (best.has(item) ? null : item.value)),
      items.map((item) => (best.has(item) ? item.value : null)),
    ];
  }

  // A diamond, filled where the set is measured; a bar for the interval of a prediction.
  mark(plot) {
    const { ctx } = plot;
    const { own, colours } = this;
    const ratio = devicePixelRatio;
    const x = plot.valToPos(own.removed, "x", true);
    const y = plot.valToPos(own.value, "y", true);
    const size = 7 * ratio;
    ctx.save();
    ctx.strokeStyle = colours.own;
    ctx.lineWidth = 2.5 * ratio;
    if (!own.measured && own.lower !== null) {
      ctx.beginPath();
      ctx.moveTo(x, plot.valToPos(own.lower, "y", true));
      ctx.lineTo(x, plot.valToPos(own.upper, "y", true));
      ctx.stroke();
    }
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, y);
    ctx.closePath();
    ctx.fillStyle = own.measured ? colours.own : colours.paper;
    ctx.fill();
    ctx.stroke();
    ctx.restore();
  }

  point(plot) {
    const { left, top } = plot.cursor;
    let near = null;
    let least = REACH ** 2;
    if (left >= 0) {
      for (const item of this.measured) {
        const across = plot.valToPos(item.removed, "x") - left;
        if (Math.abs(across) > REACH) continue;
        const apart = across ** 2 + (plot.valToPos(item.value, "y") - top) ** 2;
        if (apart < least) [near, least] = [item, apart];
      }
    }
    this.pointed = near;
    plot.over.style.cursor = near ? "pointer" : "default";
    const { players } = this.game.data;
    this.tip.textContent = near
      ? `✓ measured ${fixed(near.value)} (${signed(near.value - this.game.whole.value)}) without ${players.filter((_, i) => !near.kept[i]).join(", ") || "anything"}`
      : "";
  }
}
