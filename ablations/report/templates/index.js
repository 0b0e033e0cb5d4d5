"use strict";

// Tables: a button in each heading sorts, another copies. Without this script they are plain tables.

const textOf = (cell) => cell.textContent.trim();

function numberOf(cell) {
  const value = cell.dataset.value ?? textOf(cell);
  return value === "" || Number.isNaN(Number(value)) ? null : Number(value);
}

// Numbers where the column is of numbers and at least one is there; else texts.
function keysOf(cells) {
  const numbers = cells.map((cell) => (cell.classList.contains("number") ? numberOf(cell) : null));
  return numbers.some((one) => one !== null) ? numbers : cells.map(textOf);
}

function compared(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  return typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });
}

function sortBy(table, column, heading) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const keys = keysOf([...table.tBodies[0].rows].map((row) => row.cells[column]));
  const rows = [...table.tBodies[0].rows].map((row, at) => ({ row, key: keys[at] }));
  rows.sort((one, other) => {
    if (one.key === null || other.key === null) return compared(one.key, other.key);
    return (down ? -1 : 1) * compared(one.key, other.key);
  });
  table.tBodies[0].append(...rows.map(({ row }) => row));
  for (const row of table.tBodies[0].rows) row.classList.remove("opens");
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sortBy(table, column, heading));
    heading.replaceChildren(button);
  });
}

// What begins like a formula is one to a spreadsheet, unless it is a number. Behind a number may stand words, a second
// number after "to" or in brackets, and marks: no sign that computes, refers or calls, so none makes a formula of it.
const NUMBER = String.raw`[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?`;
const RESULT = new RegExp(String.raw`^${NUMBER}(?: ?%| to ${NUMBER}| \(${NUMBER}| \p{L}+(?:\/\p{L}+)?| [†‡§¶‖]| \[\d+\]|\))*$`, "u");
const inert = (text) => (/^[=@+-]/.test(text) && !RESULT.test(text) ? `'${text}` : text);

function csvOf(table) {
  const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const line = (row) => [...row.cells].map((cell) => quoted(inert(textOf(cell)))).join(",");
  return [...table.rows].map(line).join("\r\n") + "\r\n";
}

async function copyTable(button, table) {
  const csv = csvOf(table);
  try {
    await navigator.clipboard.writeText(csv);
    told(button, "copied");
  } catch {
    showCsv(button, csv);
  }
}

function told(button, words) {
  const status = button.parentElement.querySelector("[role=status]");
  status.textContent = words;
  setTimeout(() => { status.textContent = ""; }, 4000);
}

function showCsv(button, csv) {
  const figure = button.closest("figure");
  const area = figure.querySelector("textarea.csv") ?? document.createElement("textarea");
  area.className = "csv";
  area.readOnly = true;
  area.value = csv;
  area.setAttribute("aria-label", "The table as CSV, selected to be copied");
  button.parentElement.after(area);
  area.select();
  told(button, document.execCommand("copy") ? "copied" : "selected below");
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
for (const button of document.querySelectorAll("button.copy")) {
  const table = button.closest("figure").querySelector("table");
  button.hidden = false;
  button.addEventListener("click", () => copyTable(button, table));
}

// Charts: drawn when they come near the window, one after the other. Until then the static figure stands there.

const dark = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)");
let library = null;

function loadLibrary() {
  library ??= (async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotting-library").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    if (!window.Plotly) throw new Error("the plotting library did not start");
  })();
  return library;
}

// The library reads a little HTML in all its texts; with these two signs escaped there is none to read.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// In the dark, colours that would sink into the page are lifted towards white.
function shade(colour) {
  if (!dark.matches) return colour;
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const light = (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255;
  const share = light < 0.05 ? 0.9 : light < 0.45 ? 0.45 * (1 - light) : 0;
  return `#${parts.map((one) => Math.round(one + (255 - one) * share).toString(16).padStart(2, "0")).join("")}`;
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.views = JSON.parse(figure.querySelector("script").textContent);
    this.plot = figure.querySelector(".plot");
    this.at = null;
    this.hiddenNames = new Set();
    this.view = this.views[0];
    this.log = this.startingScales();
    this.controls();
  }

  startingScales() {
    return { x: this.view.x.log === true, y: this.view.y.log === true };
  }

  controls() {
    const [quantity, quantityLabel] = this.choice("quantity", () => this.choose(quantity.value, null));
    const [mode, modeLabel] = this.choice("of", () => this.choose(quantity.value, mode.value));
    Object.assign(this, { quantity, mode, modeLabel });
    const quantities = [...new Set(this.views.map((one) => one.quantity))];
    quantity.append(...quantities.map((one) => element("option", { value: one, textContent: one })));
    quantityLabel.hidden = quantities.length < 2;
    this.scales = { x: this.scaleButton("x"), y: this.scaleButton("y") };
    const zoom = element("span", {}, this.zoomButton("+", "zoom in", 0.5), this.zoomButton("−", "zoom out", 2), this.resetButton());
    const scales = element("span", {}, this.scales.x, this.scales.y);
    for (const [group, words] of [[scales, "Scales"], [zoom, "Zoom"]]) {
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", words);
    }
    this.figure.querySelector(".controls").append(quantityLabel, modeLabel, scales, zoom);
    this.fillModes();
  }

  choice(words, changed) {
    const select = element("select");
    select.addEventListener("change", changed);
    return [select, element("label", {}, words, select)];
  }

  fillModes() {
    const modes = this.views.filter((one) => one.quantity === this.view.quantity).map((one) => one.mode);
    this.mode.replaceChildren(...modes.map((one) => element("option", { value: one, textContent: one })));
    this.mode.value = this.view.mode;
    this.modeLabel.hidden = modes.length < 2;
  }

  scaleButton(axis) {
    const button = element("button", { type: "button" });
    button.addEventListener("click", () => {
      this.log[axis] = !this.log[axis];
      this.redraw();
    });
    return button;
  }

  zoomButton(sign, words, factor) {
    const button = element("button", { type: "button", textContent: sign, title: words });
    button.setAttribute("aria-label", words);
    button.addEventListener("click", () => this.zoom(factor));
    return button;
  }

  resetButton() {
    const button = element("button", { type: "button", textContent: "reset", title: "show everything again" });
    button.addEventListener("click", () => this.redraw());
    return button;
  }

  zoom(factor) {
    const changes = {};
    for (const axis of this.view.x.log === null ? ["yaxis"] : ["xaxis", "yaxis"]) {
      const [low, high] = this.plot._fullLayout[axis].range.map(Number);
      const middle = (low + high) / 2;
      const reach = ((high - low) / 2) * factor;
      changes[`${axis}.range`] = [middle - reach, middle + reach];
    }
    window.Plotly.relayout(this.plot, changes);
  }

  choose(quantity, mode) {
    const fitting = this.views.filter((one) => one.quantity === quantity);
    const wanted = mode ?? this.view.mode;
    this.view = fitting.find((one) => one.mode === wanted) ?? fitting[0];
    this.log = this.startingScales();
    this.at = null;
    this.fillModes();
    this.redraw();
  }

  legend() {
    const box = this.figure.querySelector(".variants");
    const first = new Map(this.view.traces.map((trace) => [trace.name, trace]).reverse());
    const names = [...new Set(this.view.traces.map((trace) => trace.name))];
    box.replaceChildren(box.querySelector("legend"), ...names.map((name) => this.entry(name, first.get(name))));
    this.figure.querySelector('[data-of="remarks"]').textContent = this.view.remarks.join(" ");
  }

  entry(name, trace) {
    const box = element("input", { type: "checkbox", checked: !this.hiddenNames.has(name) });
    box.addEventListener("change", () => {
      this.hiddenNames[box.checked ? "delete" : "add"](name);
      this.show();
    });
    return element("label", {}, box, sample(trace), name);
  }

  show() {
    const visible = this.view.traces.map((trace) => !this.hiddenNames.has(trace.name));
    window.Plotly.restyle(this.plot, { visible });
  }

  async redraw() {
    try {
      await this.draw();
    } catch (error) {
      leave(this.figure, error);
    }
  }

  // Events of the library are of the pointer; the keys walk over the same points. Both end in the line below the plot.
  listen() {
    for (const event of ["plotly_hover", "plotly_click"]) {
      this.plot.on(event, ({ points: [{ curveNumber, pointNumber }] }) => this.tell(curveNumber, pointNumber));
    }
    this.plot.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.walk(...step);
    });
  }

  // Along a trace, or to the next one that is shown; to that too where a trace is a single point.
  walk(traces, points) {
    const shown = this.view.traces.flatMap(({ name }, at) => (this.hiddenNames.has(name) ? [] : [at]));
    if (!shown.length) return;
    const place = this.at ? shown.indexOf(this.at.trace) : -1;
    if (place < 0) {
      this.point(shown[0], 0);
      return;
    }
    const here = this.view.traces[this.at.trace].points;
    const across = traces || here.length > 1 ? traces : points;
    const next = across ? shown[(place + across + shown.length) % shown.length] : this.at.trace;
    const target = this.view.traces[next].points;
    this.point(next, across ? nearest(target, here[this.at.point].x) : clamped(this.at.point + points, target.length));
  }

  point(trace, point) {
    window.Plotly.Fx.hover(this.plot, [{ curveNumber: trace, pointNumber: point }]);
    this.tell(trace, point);
  }

  tell(trace, point) {
    this.at = { trace, point };
    this.figure.querySelector(".mark").textContent = this.view.traces[trace].points[point].words.join(" · ");
  }

  draw() {
    this.legend();
    this.figure.querySelector(".mark").textContent = "";
    for (const axis of ["x", "y"]) {
      const button = this.scales[axis];
      button.hidden = this.view[axis].log === null;
      button.setAttribute("aria-pressed", String(this.log[axis]));
      button.textContent = axis === "x" ? "log across" : "log up";
      button.title = `${axis === "x" ? "Horizontal" : "Vertical"} axis logarithmic or linear`;
    }
    const config = { displayModeBar: false, responsive: true, doubleClick: "reset" };
    return window.Plotly.react(this.plot, this.traces(), this.layout(), config);
  }

  traces() {
    return this.view.traces.map((trace) => {
      const colour = shade(trace.colour);
      const points = trace.points;
      const [above, below] = [points.map((p) => (p.high ?? p.y) - p.y), points.map((p) => p.y - (p.low ?? p.y))];
      return {
        type: trace.look.endsWith("bars") ? "bar" : "scatter",
        name: plain(trace.name),
        x: points.map((p) => (typeof p.x === "string" ? plain(p.x) : p.x)),
        y: points.map((p) => p.y),
        mode: { line: "lines+markers", marks: "markers", across: "lines+markers" }[trace.look],
        line: { color: colour, dash: trace.dash, width: 1.8 },
        marker: trace.look === "open bars" ? hatched(colour) : { color: colour, symbol: trace.symbol, size: 8 },
        error_y: { type: "data", symmetric: false, array: above, arrayminus: below, visible: points.some((p) => p.low !== null && p.low < p.high), color: colour, thickness: 1.2, width: 3 },
        hoverinfo: "text",
        hovertext: points.map((p) => p.words.map(plain).flatMap(wrapped).join("<br>")),
        visible: !this.hiddenNames.has(trace.name),
        showlegend: false,
      };
    });
  }

  layout() {
    const [ink, grid, panel] = [theme("--ink"), theme("--grid"), theme("--panel")];
    const common = { gridcolor: grid, linecolor: theme("--soft"), zeroline: false, automargin: true, fixedrange: coarse.matches };
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 12, family: "system-ui, sans-serif" },
      margin: { l: 56, r: 16, t: 14, b: 44 },
      hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: panel, bordercolor: theme("--soft"), font: { color: ink, size: 12 }, namelength: -1 },
      dragmode: coarse.matches ? false : "zoom",
      xaxis: { ...common, ...this.axis("x") },
      yaxis: { ...common, ...this.axis("y") },
    };
  }

  axis(axis) {
    const { title, ticks, log } = this.view[axis];
    if (log === null) return { title: { text: "" }, type: "category", tickangle: innerWidth < 600 ? -90 : "auto" };
    const type = this.log[axis] ? "log" : "linear";
    const shown = type === "log" ? labelled(ticks.length ? ticks : this.roundValues(axis)) : { tickvals: null, nticks: 8 };
    return {
      title: { text: plain(title), standoff: 8 }, type, exponentformat: "none", separatethousands: true, autorange: true, ...shown,
    };
  }

  // Along a logarithmic axis: every power of ten, and up to three of them twice and five times as much.
  roundValues(axis) {
    const points = this.view.traces.flatMap((trace) => trace.points);
    const values = points.flatMap((p) => (axis === "y" ? [p.y, p.low ?? p.y, p.high ?? p.y] : [p.x])).filter((value) => value > 0);
    const [first, last] = [Math.min(...values), Math.max(...values)].map((value) => Math.floor(Math.log10(value)));
    const powers = Array.from({ length: last - first + 3 }, (_, at) => first - 1 + at);
    return powers.flatMap((power) => (powers.length > 6 ? [1] : [1, 2, 5]).map((digit) => Number(`${digit}e${power}`)));
  }
}

const hatched = (colour) => ({ color: colour, pattern: { shape: "/", fillmode: "replace", size: 9 }, line: { color: colour, width: 1.5 } });

const clamped = (at, length) => Math.max(0, Math.min(length - 1, at));

// The place of the point at x or beside it; of names, the first.
function nearest(points, x) {
  const distances = points.map((point) => Math.abs(point.x - x) || 0);
  return distances.indexOf(Math.min(...distances));
}

const labelled = (ticks) => ({ tickvals: ticks, ticktext: ticks.map((one) => one.toLocaleString("en", { maximumSignificantDigits: 12 })) });

// On a phone a long line of a label would stand outside the window. Escaped signs are never cut in two.
function wrapped(line) {
  const most = Math.max(24, Math.min(90, Math.floor(innerWidth / 9)));
  const lines = [""];
  for (const word of line.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines;
}

const DASHES = { solid: "", dash: "6 3", dashdot: "7 2 2 2", dot: "2 2", longdash: "10 4", longdashdot: "10 2 2 2" };

// The sample of line and colour beside a name.
function sample(trace) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const dashes = trace.look === "open bars" ? "2 2" : DASHES[trace.dash];
  const values = { x1: 0, x2: 24, y1: 5, y2: 5, stroke: shade(trace.colour), "stroke-width": 3, "stroke-dasharray": dashes };
  for (const [name, value] of Object.entries({ width: 24, height: 10, "aria-hidden": "true" })) made.setAttribute(name, value);
  for (const [name, value] of Object.entries(values)) line.setAttribute(name, value);
  made.append(line);
  return made;
}

const charts = new Map();
const waiting = [];
let drawing = false;

async function drawWaiting() {
  if (drawing) return;
  drawing = true;
  try {
    while (waiting.length) {
      const figure = waiting.shift();
      await drawFirst(figure).catch((error) => leave(figure, error));
      await new Promise((resume) => setTimeout(resume));
    }
  } finally {
    drawing = false;
  }
}

async function drawFirst(figure) {
  await loadLibrary();
  const chart = new Chart(figure);
  show(figure, true);
  await chart.draw();
  chart.listen();
  charts.set(figure, chart);
  const swap = figure.querySelector(".swap");
  swap.hidden = !figure.querySelector(".static svg");
  swap.addEventListener("click", () => {
    show(figure, figure.querySelector(".interactive").hidden);
    if (!figure.querySelector(".interactive").hidden) window.Plotly.Plots.resize(chart.plot);
  });
  figure.dataset.drawn = "true";
}

function show(figure, reacting) {
  figure.querySelector(".interactive").hidden = !reacting;
  figure.querySelector(".static").hidden = reacting;
  figure.querySelector(".swap").textContent = reacting ? "static figure" : "interactive figure";
}

// What cannot be drawn is left as a static figure, and the next chart has its turn.
function leave(figure, error) {
  show(figure, false);
  figure.querySelector(".swap").hidden = true;
  charts.delete(figure);
  figure.append(element("p", { className: "note", textContent: `The interactive chart could not be drawn: ${error.message}` }));
}

if ("DecompressionStream" in window && "IntersectionObserver" in window) {
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        waiting.push(target);
      }
      drawWaiting();
    },
    { rootMargin: "600px 0px" },
  );
  for (const figure of document.querySelectorAll("figure.chart")) near.observe(figure);
  dark.addEventListener("change", () => { for (const chart of charts.values()) chart.redraw(); });
}
