// Keeps the figures and charts of a page up to date. Without it, the page still holds everything but movement.

const MINUTE = 60_000;
const WIDTH = 600;
const HEIGHT = 150;

const figures = new Map();
const histories = new Map();
const runs = new Map();

const number = (decimals) =>
  new Intl.NumberFormat("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
const [whole, tenth, hundredth, thousandth] = [number(0), number(1), number(2), number(3)];

function milliseconds(value) {
  if (value > 0 && value < 0.1) return thousandth;
  return value < 10 ? hundredth : value < 100 ? tenth : whole;
}

const formats = {
  count: (value) => whole.format(value),
  rate: (value) => whole.format(value),
  percent: (value) => whole.format(value),
  mean: (value) => hundredth.format(value),
  seconds: (value) => hundredth.format(value),
  megabytes: (value) => tenth.format(value),
  milliseconds: (value) => milliseconds(value).format(value),
  presence: (value) => (value > 0 ? "answers" : "away"),
};

const write = (format, value) => (Number.isNaN(value) ? "–" : (formats[format] ?? String)(value));

function offBy(guess, outcome) {
  if (guess === outcome) return "exact";
  if (guess <= 0 || outcome <= 0) return whole.format(Math.abs(guess - outcome));
  const factor = Math.max(guess / outcome, outcome / guess);
  return `× ${(factor < 10 ? hundredth : whole).format(factor)}`;
}

function listen({ prefix, url, outcomes }) {
  const events = new EventSource(url);
  const ask = asker(outcomes);
  events.onopen = () => mark(prefix, "live");
  events.onerror = () => mark(prefix, "away");
  events.onmessage = (event) => {
    const message = JSON.parse(event.data);
    const now = Date.now();
    for (const [name, value] of Object.entries(message)) {
      if (typeof value === "number") remember(prefix + name, value, now);
      else if (value === null) figures.set(prefix + name, NaN);
    }
    if ("run" in message) {
      showMixed(message.run);
      ask(message.run);
    }
  };
}

// Asks for the outcomes of this visitor's runs, once a second at most and only while anything runs or has changed.
function asker(address) {
  let before = "";
  let asked = 0;
  return async (run) => {
    const now = JSON.stringify(run);
    if (Date.now() - asked < 1_000 || (now === before && ![...runs.values()].some((known) => known?.running))) return;
    before = now;
    asked = Date.now();
    const answer = await fetch(address).catch(() => undefined);
    if (answer?.ok) showRuns(await answer.json());
  };
}

function remember(name, value, now) {
  figures.set(name, value);
  const history = histories.get(name);
  if (!history) return;
  history.push([now, value]);
  while (history.length > 2 && history[1][0] < now - MINUTE) history.shift();
}

function mark(prefix, state) {
  for (const source of document.querySelectorAll("[data-source]")) {
    if (source.dataset.source !== prefix || source.dataset.state === state) continue;
    source.dataset.state = state;
    source.querySelector(".word").textContent = state === "live" ? "live" : "not reachable";
  }
}

function showRuns(outcomes) {
  for (const [side, run] of Object.entries(outcomes)) {
    runs.set(side, run);
    if (run) showRun(side, run);
  }
}

function showRun(side, run) {
  for (const cell of document.querySelectorAll(`[data-outcome^="${side}."]`)) {
    const value = run[figureOf(cell.dataset.outcome)];
    if (typeof value === "number") cell.textContent = write(cell.dataset.format, value);
  }
  for (const cell of document.querySelectorAll(`[data-rest^="${side}."][data-told]`)) {
    const value = run[figureOf(cell.dataset.rest)];
    if (typeof value === "number") cell.textContent = write("milliseconds", Math.max(0, Number(cell.dataset.told) - value));
  }
  for (const cell of document.querySelectorAll(`[data-off^="${side}."][data-guess]`)) {
    const value = cell.dataset.told === undefined ? run[figureOf(cell.dataset.off)] : Number(cell.dataset.told);
    if (typeof value === "number") cell.textContent = run.running ? "…" : offBy(Number(cell.dataset.guess), value);
  }
  for (const place of document.querySelectorAll(`[data-side="${side}"]`)) {
    const text = `${place.dataset.label}: ${describe(run)}`;
    if (place.textContent !== text) place.textContent = text;
  }
  const running = [...runs.values()].some((known) => known?.running);
  for (const state of document.querySelectorAll("[data-run-state]")) state.dataset.runState = running ? "running" : "ended";
}

const figureOf = (name) => name.slice(name.indexOf(".") + 1);

function describe(run) {
  const name = `run ${run.number} of ${run.name || "nobody named"}`;
  if (run.running) return `${name} is under way`;
  return `${name} ended: ${whole.format(run.requests)} requests in ${hundredth.format(run.seconds)} s, ${whole.format(run.failed)} failed`;
}

function showMixed(run) {
  for (const place of document.querySelectorAll("[data-mixed]")) {
    const text = run?.mixed
      ? `The server's last run was mixed: ${run.parts} senders and sides are in it, so each may have had only what the others left.`
      : "";
    if (place.textContent !== text) place.textContent = text;
  }
}

function paint() {
  for (const place of document.querySelectorAll("[data-figure]")) {
    const value = figures.get(place.dataset.figure);
    if (value === undefined) continue;
    const text = write(place.dataset.format, value);
    if (place.textContent !== text) place.textContent = text;
  }
  for (const chart of charts) chart.paint();
}

class Chart {
  constructor(element) {
    this.format = element.dataset.format;
    this.title = element.dataset.title;
    this.unit = element.dataset.unit;
    this.series = element.dataset.series.split(" ");
    this.lines = element.querySelectorAll("polyline");
    this.top = element.querySelector(".top");
    this.svg = element.querySelector("svg");
    this.described = 0;
    for (const name of this.series) if (!histories.has(name)) histories.set(name, []);
  }

  paint() {
    const now = Date.now();
    const all = this.series.map((name) => histories.get(name));
    const highest = Math.max(0, ...all.flat().map(([, value]) => value));
    const top = roundUp(highest);
    this.top.textContent = write(this.format === "milliseconds" || top >= 10 ? "count" : this.format, top);
    all.forEach((history, index) => {
      const points = history.map(([at, value]) => {
        const x = WIDTH - ((now - at) / MINUTE) * WIDTH;
        const y = HEIGHT - 2 - (value / top) * (HEIGHT - 4);
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      });
      this.lines[index].setAttribute("points", points.join(" "));
    });
    this.describe(now, highest);
  }

  describe(now, highest) {
    if (now - this.described < 5_000) return;
    this.described = now;
    const latest = this.series.map((name) => write(this.format, figures.get(name) ?? 0)).join(" and ");
    this.svg.setAttribute(
      "aria-label",
      `${this.title}, last minute: now ${latest} ${this.unit}, highest ${write(this.format, highest)} ${this.unit}`,
    );
  }
}

// The next of 1, 2, 5, 10, 20, 50, ... so that the scale seldom jumps.
function roundUp(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function offerCopies() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2_000);
    });
  }
}

const charts = [...document.querySelectorAll(".chart")].map((element) => new Chart(element));
const sources = JSON.parse(document.body.dataset.sources);
sources.forEach(listen);
if (sources.length > 0) setInterval(paint, 100);
offerCopies();
