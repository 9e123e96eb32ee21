// SPDX-License-Identifier: MIT
//
// The page of `twshim serve`, and of `twshim report --html`, where the data are in the page.
// What comes from the API is untrusted: it goes into textContent and chart labels only.
"use strict";

const KEPT = 180; // seconds of history
const SHOWN = 12; // applications in a chart, destinations in a table
const COLORS = ["#2e6fd8", "#e8833a", "#2aa36b", "#b04ad0", "#d64550", "#7a6ff0", "#9a8a2f",
  "#1f9fb5", "#c2557e", "#5b7083", "#84a83b", "#444c99"];
const ENDINGS = {
  ended_local_fin: ["closed by us", "#e8833a"], ended_remote_fin: ["closed by the peer", "#2aa36b"],
  ended_fin_reset: ["policy: FIN, no TIME_WAIT", "#1f9fb5"], ended_reset_policy: ["policy: reset", "#2e6fd8"],
  ended_reset_app: ["reset by the program", "#7a6ff0"], ended_reset_unread: ["reset: unread data", "#b04ad0"],
  ended_reset_remote: ["reset by the peer", "#d64550"], ended_unseen: ["unseen", "#98a2b3"],
};
const history = [];
let previous = null;

const $ = id => document.getElementById(id);
const embedded = $("data");
const number = value => value === null || value === undefined ? "?" : value.toLocaleString("en-US");
const percent = (part, whole) => whole ? `${Math.round(100 * part / whole)} %` : "–";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function duration(seconds) {
  if (seconds < 0.001) return `${+(seconds * 1e6).toPrecision(3)} µs`;
  if (seconds < 1) return `${+(seconds * 1e3).toPrecision(3)} ms`;
  if (seconds < 120) return `${+seconds.toPrecision(3)} s`;
  return `${+(seconds / 60).toPrecision(3)} min`;
}

// Columns: [title, is a number, cell(row)].
function table(id, columns, rows) {
  const head = element("tr");
  columns.forEach(([title, right]) => head.append(element("th", title, right ? "n" : "")));
  const lines = rows.map(row => {
    const line = element("tr");
    columns.forEach(([, right, cell]) => line.append(element("td", cell(row), right ? "n" : "")));
    return line;
  });
  $(id).replaceChildren(head, ...lines);
}

function tile(title, value, id) {
  const made = element("div", undefined, "tile");
  const shown = element("b", value);
  shown.id = id;
  made.append(shown, element("span", title));
  return made;
}

const charts = {};
function chart(id, type, data, options) {
  if (charts[id]) {
    charts[id].data.labels = data.labels;
    const sets = charts[id].data.datasets;
    sets.length = data.datasets.length;
    data.datasets.forEach((set, i) => { sets[i] = Object.assign(sets[i] || {}, set); });
    charts[id].update("none");
    return;
  }
  charts[id] = new Chart($(id), {
    type, data,
    options: Object.assign({ animation: false, responsive: true, maintainAspectRatio: false,
      plugins: { legend: { position: "bottom", labels: { boxWidth: 10 } } } }, options),
  });
}

const byTimeWait = (a, b) => (b.time_wait.confirmed ?? 0) - (a.time_wait.confirmed ?? 0) ||
  b.counters.attempts - a.counters.attempts;

function showTimeWait() {
  const names = new Map();
  history.forEach(sample => sample.apps.forEach((value, app) =>
    names.set(app, Math.max(names.get(app) ?? 0, value))));
  const top = [...names].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, SHOWN);
  const last = history[history.length - 1].time;
  chart("chart-time-wait", "line", {
    labels: history.map(sample => `${Math.round((sample.time - last) / 1000)} s`),
    datasets: top.map(([app], i) => ({ label: app, data: history.map(s => s.apps.get(app) ?? 0), fill: true,
      borderColor: COLORS[i % COLORS.length], backgroundColor: COLORS[i % COLORS.length] + "66", pointRadius: 0,
      borderWidth: 1 })),
  }, { scales: { y: { stacked: true, beginAtZero: true, ticks: { precision: 0 } },
    x: { ticks: { maxTicksLimit: 7 } } } });
}

function showPorts(destinations) {
  const top = destinations.filter(d => d.ports.used && d.ports.range)
    .sort((a, b) => b.ports.fill - a.ports.fill).slice(0, 8);
  const color = fill => fill >= 0.8 ? "#b42318" : fill >= 0.5 ? "#f79009" : "#2e6fd8";
  chart("chart-ports", "bar", {
    labels: top.map(d => `${d.to} (${d.app})`),
    datasets: [{ label: "% of the ephemeral ports", data: top.map(d => 100 * d.ports.fill),
      backgroundColor: top.map(d => color(d.ports.fill)) }],
  }, { indexAxis: "y", plugins: { legend: { display: false } },
    scales: { x: { beginAtZero: true, suggestedMax: 10, title: { display: true, text: "% of the range" } } } });
}

function showEndings(apps) {
  const top = apps.slice(0, SHOWN);
  const kinds = Object.keys(ENDINGS).filter(kind => apps.some(app => app.counters[kind]));
  chart("chart-endings", "bar", {
    labels: top.map(app => app.app),
    datasets: kinds.map(kind => ({ label: ENDINGS[kind][0], backgroundColor: ENDINGS[kind][1],
      data: top.map(app => app.counters[kind]) })),
  }, { indexAxis: "y", scales: { x: { stacked: true, ticks: { precision: 0 } }, y: { stacked: true } } });
}

function showLifetimes(apps) {
  const bounds = apps.length ? apps[0].counters.lifetime_seconds.le : [];
  const labels = bounds.filter((_, i) => i % 2 === 0).map(bound => `< ${duration(bound)}`).concat("longer");
  const fold = counts => {
    const folded = [counts[0]];
    for (let i = 1; i < counts.length; i += 2) folded.push(counts[i] + (counts[i + 1] ?? 0));
    return folded;
  };
  chart("chart-lifetimes", "bar", {
    labels,
    datasets: apps.slice(0, SHOWN).map((app, i) => ({ label: app.app, data: fold(app.counters.lifetime_seconds.count),
      backgroundColor: COLORS[i % COLORS.length] })),
  }, { scales: { x: { stacked: true, ticks: { maxTicksLimit: 12 } },
    y: { stacked: true, ticks: { precision: 0 } } } });
}

function rates(report, now) {
  const opened = new Map(report.apps.map(app => [app.exe, app.counters.established]));
  const made = new Map();
  if (previous) {
    opened.forEach((value, exe) => made.set(exe,
      Math.max(0, value - (previous.opened.get(exe) ?? 0)) * 1000 / (now - previous.time)));
  }
  previous = { opened, time: now };
  return made;
}

function showTables(apps, destinations, speed) {
  const closed = row => Object.keys(ENDINGS).reduce((sum, kind) => sum + row.counters[kind], 0);
  const common = [
    ["opened", true, row => number(row.counters.established)],
    ["open", true, row => number(row.counters.open)],
    ["short-lived", true, row => percent(row.counters.short_lived, closed(row))],
    ["closed by us first", true, row => percent(row.counters.ended_local_fin, closed(row))],
    ["TIME_WAIT", true, row => number(row.time_wait.confirmed)],
  ];
  const perSecond = row => speed.has(row.exe) ? number(Math.round(speed.get(row.exe) * 10) / 10) : "–";
  table("applications", [["application", false, row => row.app],
    ["processes", true, row => number(row.processes)], ["a second", true, perSecond], ...common], apps);
  table("destinations", [["application", false, row => row.app], ["to", false, row => row.to], ...common,
    ["ports", true, row => row.ports.range ? `${number(row.ports.used)} of ${number(row.ports.range)}` : "?"]],
  destinations.slice(0, 3 * SHOWN));
}

function showArms(report) {
  const rows = report.arms.flatMap(arm => arm.against_first.length
    ? arm.against_first.map(line => Object.assign({ arm: arm.arm, experiment: arm.experiment }, line)) : []);
  $("experiment").hidden = report.arms.length === 0;
  const value = x => typeof x === "number" ? `${+x.toPrecision(4)}` : "–";
  table("arms", [["arm", false, r => r.arm], ["measure", false, r => r.measure],
    ["first arm", true, r => value(r.first)], ["this arm", true, r => value(r.this)],
    ["difference", true, r => value(r.difference)],
    ["95 % interval", true, r => `${value(r.low)} to ${value(r.high)}`], ["verdict", false, r => r.verdict]], rows);
}

function showReport(report, now) {
  const apps = report.apps.slice().sort(byTimeWait);
  const destinations = apps.flatMap(app => app.destinations
    .map(one => Object.assign({ app: app.app, exe: app.exe }, one))).sort(byTimeWait);
  const total = report.total;
  $("tiles").replaceChildren(
    tile("TIME_WAIT sockets of this host", number(report.kernel.time_wait), "tile-time-wait"),
    tile("of them owned by these", number(report.kernel.owned), "tile-owned"),
    tile("connections opened", number(total.established), "tile-opened"),
    tile("open now", number(total.open), "tile-open"),
    tile("without a port", number(total.failed_no_port), "tile-no-port"));
  history.push({ time: now, apps: new Map() });
  const sample = history[history.length - 1].apps;
  apps.forEach(app => sample.set(app.app, (sample.get(app.app) ?? 0) + (app.time_wait.confirmed ?? 0)));
  while (history.length > KEPT) history.shift();
  if (!embedded) showTimeWait();
  showPorts(destinations);
  showEndings(apps);
  showLifetimes(apps);
  showTables(apps, destinations, rates(report, now));
  showArms(report);
}

function showFindings(findings) {
  const made = findings.filter(finding => finding.verdict !== "ok").map(finding => {
    const box = element("div", undefined, `finding ${finding.verdict}`);
    const line = element("p");
    line.append(element("b", `${finding.verdict}: ${finding.title ?? finding.id}`));
    line.append(element("span", finding.evidence ?? finding.text));
    box.append(line);
    if (finding.advice) box.append(element("p", finding.advice, "advice"));
    return box;
  });
  $("findings").replaceChildren(...(made.length ? made : [element("p", "nothing to say", "none")]));
}

async function get(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh(turn) {
  if (document.visibilityState === "visible") {
    try {
      const report = await get("api/report");
      showReport(report, Date.now());
      if (turn % 5 === 0) showFindings((await get("api/doctor")).findings);
      $("state").textContent = `as of ${report.generated}`;
      $("state").className = "";
    } catch (error) {
      $("state").textContent = `no answer: ${error.message}`;
      $("state").className = "stale";
    }
  }
  setTimeout(refresh, 1000, turn + 1);
}

if (embedded) {
  const report = JSON.parse(embedded.textContent);
  document.querySelectorAll(".live").forEach(section => section.remove());
  showReport(report, Date.now());
  showFindings(report.advice);
  const run = report.run ? `${report.run.command}: exit status ${report.run.exit_status}, ` +
    `${duration(report.run.elapsed_seconds)}; ` : "";
  $("state").textContent = `${run}as of ${report.generated}`;
} else {
  refresh(0);
}
