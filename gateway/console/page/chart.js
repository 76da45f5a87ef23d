/** Charts by uPlot, in the colours of the theme, each with its figures as text beside it. */

import { el, fill } from "./dom.js";
import { empty } from "./parts.js";
import { texts } from "./texts.js";
import { mark } from "./time.js";

let library = null;

function load() {
  library ??= import("./uplot.js").then((module) => module.default);
  return library;
}

/**
 * Draw lines over time: `series` are `{ label, color, dash }`, `color` a custom property of the
 * stylesheet; `format` writes a value. Returns the node, and `set` that shows other columns:
 * seconds since the epoch first, then one for each series.
 */
export function chart(label, series, format, signal) {
  const place = el("div.plot", { role: "img", "aria-label": label });
  const legend = el("ul.legend", {}, ...series.map((one) => el("li", { "data-color": one.color }, el("i", { "aria-hidden": "true" }), one.label)));
  const node = el("div.chart", {}, legend, place);
  let drawn = null;
  let columns = null;
  let asked = false;

  const draw = async () => {
    if (asked || !place.isConnected || !place.clientWidth) return;
    asked = true;
    try {
      const Plot = await load();
      if (signal.aborted) return;
      drawn?.destroy();
      drawn = new Plot(options(place, series, format), columns, place);
    } catch {
      fill(place, empty("info", texts.overview.chartsMissing));
    } finally {
      asked = false;
    }
  };
  const resized = new ResizeObserver(() => {
    if (drawn) drawn.setSize(size(place));
    else if (columns) draw();
  });
  resized.observe(place);
  const again = () => columns && draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again, { signal });
  addEventListener("theme", again, { signal });
  signal.addEventListener("abort", () => {
    resized.disconnect();
    drawn?.destroy();
  });
  const set = (next) => {
    columns = next;
    if (drawn) drawn.setData(next);
    else draw();
  };
  return { node, set };
}

function size(place) {
  return { width: Math.max(120, place.clientWidth), height: 180 };
}

function options(place, series, format) {
  const style = getComputedStyle(place);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--quiet"),
    font: `12px ${style.fontFamily}`,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    ...size(place),
    padding: [8, 8, 0, 0],
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    legend: { show: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1e-3) * 1.15] } },
    axes: [
      { ...axis, space: 70, size: 26, values: (_, marks) => marks.map(mark) },
      { ...axis, size: 58, space: 36, values: (_, marks) => marks.map(format) },
    ],
    series: [
      {},
      ...series.map((one) => ({
        label: one.label,
        stroke: colour(one.color),
        width: 2,
        dash: one.dash,
        spanGaps: false,
        points: { show: one.points ?? false, size: 5 },
      })),
    ],
  };
}
