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

const write = (format, value) => (formats[format] ?? String)(value);

function offBy(guess, outcome) {
  if (guess === outcome) return "exact";
  if (guess <= 0 || outcome <= 0) return whole.format(Math.abs(guess - outcome));
  const factor = Math.max(guess / outcome, outcome / guess);
  return `× ${(factor < 10 ? hundredth : whole).format(factor)}`;
}

function listen({ prefix, url }) {
  const events = new EventSource(url);
  events.onopen = () => mark(prefix, "live");
  events.onerror = () => mark(prefix, "away");
  events.onmessage = (event) => {
    const message = JSON.parse(event.data);
    const now = Date.now();
    for (const [name, value] of Object.entries(message)) {
      if (typeof value === "number") remember(prefix + name, value, now);
    }
    if ("run" in message) showRun(prefix, message.run);
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

function showRun(prefix, run) {
  if (!run) return;
  const before = runs.get(prefix);
  runs.set(prefix, run);
  for (const cell of document.querySelectorAll("[data-outcome]")) {
    const value = run[nameIn(prefix, cell.dataset.outcome)];
    if (typeof value === "number") cell.textContent = write(cell.dataset.format, value);
  }
  for (const cell of document.querySelectorAll("[data-off][data-guess]")) {
    const value = run[nameIn(prefix, cell.dataset.off)];
    if (typeof value === "number") cell.textContent = run.running ? "…" : offBy(Number(cell.dataset.guess), value);
  }
  if (!before || before.number !== run.number || before.running !== run.running) announceRuns();
}

function nameIn(prefix, name) {
  return name.startsWith(prefix) ? name.slice(prefix.length) : "";
}

function announceRuns() {
  const parts = [...runs].map(([prefix, run]) => {
    const server = prefix ? `${prefix.replace(".", "")}: ` : "";
    if (run.running) return `${server}run ${run.number} is under way`;
    return `${server}run ${run.number} ended: ${whole.format(run.requests)} requests in ${hundredth.format(run.seconds)} s, ${whole.format(run.failed)} failed`;
  });
  const text = parts.join("; ");
  for (const state of document.querySelectorAll("[data-run-state]")) {
    state.textContent = text[0].toUpperCase() + text.slice(1) + ".";
    state.dataset.runState = [...runs.values()].some((run) => run.running) ? "running" : "ended";
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
