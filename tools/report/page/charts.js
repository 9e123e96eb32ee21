// SPDX-License-Identifier: MIT
//
// The charts of the page, by Chart.js. What they show comes from the host and is untrusted: it
// goes into labels, which are drawn, never into markup. Each chart is made once and then updated.
"use strict";

// Each colour has one meaning on the whole page: these are applications, and no ending or meter
// uses them.
const COLORS = ["#4f46e5", "#0d9488", "#be185d", "#65a30d", "#7c3aed", "#0369a1", "#92400e", "#475569"];
const OTHER = "other applications", INCOMING = "incoming", UNOWNED = "owner unknown";
const GREY = { [OTHER]: "#94a3b8", [INCOMING]: "#cbd5e1", [UNOWNED]: "#6b7280" };
// Yellow means that a TIME_WAIT remains here; no other ending leaves one.
const ENDINGS = {
  ended_local_fin: ["closed here first: TIME_WAIT", "#facc15"],
  ended_remote_fin: ["closed by the peer", "#86efac"],
  ended_fin_reset: ["policy: FIN, no TIME_WAIT", "#67e8f9"],
  ended_reset_policy: ["policy: reset", "#93c5fd"],
  ended_reset_app: ["reset by the program", "#d8b4fe"],
  ended_reset_unread: ["reset: unread data", "#f9a8d4"],
  ended_reset_remote: ["reset by the peer", "#fb7185"],
  ended_unseen: ["unseen", "#e5e7eb"],
};
const TOP = 8; // applications with a colour of their own

function duration(seconds) {
  if (seconds < 0.001) return `${+(seconds * 1e6).toPrecision(3)} µs`;
  if (seconds < 1) return `${+(seconds * 1e3).toPrecision(3)} ms`;
  if (seconds < 120) return `${+seconds.toPrecision(3)} s`;
  if (seconds < 7200) return `${+(seconds / 60).toPrecision(3)} min`;
  return `${+(seconds / 3600).toPrecision(3)} h`;
}

const charts = {};
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = text => text.length > 28 ? `${text.slice(0, 13)}…${text.slice(-14)}` : text;

function drawChart(id, type, said, data, scales, more) {
  document.getElementById(id).setAttribute("aria-label", said);
  if (charts[id]) {
    const kept = charts[id].data;
    kept.labels = data.labels;
    kept.datasets.length = data.datasets.length;
    data.datasets.forEach((set, i) => { kept.datasets[i] = Object.assign(kept.datasets[i] || {}, set); });
    Object.entries(scales).forEach(([axis, wanted]) => {
      charts[id].options.scales[axis].min = wanted.min;
      charts[id].options.scales[axis].max = wanted.max;
    });
    charts[id].update("none");
    return;
  }
  Object.values(scales).forEach(scale => { scale.grid = { color: style("--grid"), borderColor: style("--grid") }; });
  charts[id] = new Chart(document.getElementById(id), {
    type, data,
    options: Object.assign({ animation: false, responsive: true, maintainAspectRatio: false, scales,
      color: style("--ink"),
      plugins: { legend: { position: "bottom", labels: { boxWidth: 10, padding: 8,
        generateLabels: chart => Chart.defaults.plugins.legend.labels.generateLabels(chart)
          .map(label => Object.assign(label, { text: short(label.text) })) } } } }, more),
  });
}

// Light or dark mode has changed, so make the charts again in its colours.
function forgetCharts() {
  Object.keys(charts).forEach(id => { charts[id].destroy(); delete charts[id]; });
  useColors();
}

function useColors() {
  Chart.defaults.color = style("--faint");
  Chart.defaults.borderColor = style("--grid");
  Chart.defaults.font.family = "system-ui, sans-serif";
}

const given = new Map(); // application: its colour while it is on the page
function colorOf(name) {
  if (GREY[name]) return GREY[name];
  if (!given.has(name)) {
    const used = new Set(given.values());
    given.set(name, COLORS.find(color => !used.has(color)) ?? COLORS[given.size % COLORS.length]);
  }
  return given.get(name);
}

// Frees the colours of applications that are no longer shown.
function keepColors(names) {
  [...given.keys()].filter(name => !names.has(name)).forEach(name => given.delete(name));
}

// samples: [{seconds, values: Map of application to TIME_WAIT, null: not known}], one per second.
// Each name has its own colour; the largest is at the bottom.
function chartTimeWait(samples, span) {
  const most = new Map();
  samples.forEach(sample => (sample.values ?? []).forEach((value, name) =>
    most.set(name, Math.max(most.get(name) ?? 0, value))));
  const rank = name => GREY[name] ? 1 : 0;
  const sorted = [...most].filter(([name, value]) => value || !GREY[name])
    .sort((a, b) => rank(a[0]) - rank(b[0]) || b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name);
  const named = sorted.filter(name => !GREY[name]).slice(0, TOP), own = new Set(named);
  const rest = sorted.length > named.length + sorted.filter(name => GREY[name]).length;
  const names = [...named, ...(rest || most.get(OTHER) ? [OTHER] : []),
    ...[INCOMING, UNOWNED].filter(name => most.get(name))];
  const value = (values, name) => {
    if (name !== OTHER) return values.get(name) ?? 0;
    let sum = values.get(OTHER) ?? 0;
    values.forEach((count, one) => { if (!own.has(one) && !GREY[one]) sum += count; });
    return sum;
  };
  const last = samples[samples.length - 1], first = Math.max(-span, samples[0].seconds - last.seconds);
  keepColors(own);
  drawChart("chart-time-wait", "line",
    `TIME_WAIT sockets over the last ${duration(Math.max(1, -first))}: now ` +
    names.map(name => `${name} ${last.values ? value(last.values, name) : "unknown"}`).join(", "), {
      datasets: names.map((name, i) => ({ label: name, fill: i ? "-1" : "origin", pointRadius: 0, borderWidth: 1.5,
        borderColor: colorOf(name), backgroundColor: colorOf(name) + "80",
        data: samples.map(sample => ({ x: sample.seconds - last.seconds,
          y: sample.values ? value(sample.values, name) : null })) })),
    }, {
      x: { type: "linear", min: Math.min(first, -10), max: 0, ticks: { maxTicksLimit: 7, maxRotation: 0,
        callback: at => at ? `−${duration(-at)}` : "now" } },
      y: { stacked: true, beginAtZero: true, suggestedMax: 5, ticks: { precision: 0 } },
    }, { interaction: { mode: "index", intersect: false } });
}

// For a finished run: when its TIME_WAIT sockets appeared and when they will leave. named:
// [[application, how many leave in the first second from now, in the next, ...]]. Each socket lasts
// a minute, so that also shows when it appeared. `since`: none that appeared after it has left.
function leavingTimeWait(named, since) {
  const times = Array.from({ length: 61 - since }, (_, i) => since + i);
  const there = (counts, at) => counts.reduce((sum, count, second) =>
    (at < 0 ? second < counts.length + at : second >= at) ? sum + count : sum, 0);
  drawChart("chart-time-wait", "line", "TIME_WAIT sockets: " + (named.map(([name, counts]) =>
    `${name} ${there(counts, 0)}, in half a minute ${there(counts, 30)}`).join("; ") || "none"), {
    datasets: named.map(([name, counts], i) => ({ label: name, fill: i ? "-1" : "origin", pointRadius: 0,
      borderWidth: 1.5, borderColor: colorOf(name), backgroundColor: colorOf(name) + "80",
      data: times.map(at => ({ x: at, y: there(counts, at) })) })),
  }, {
    x: { type: "linear", min: since, max: 60, ticks: { maxTicksLimit: 7, maxRotation: 0,
      callback: at => at ? `${at < 0 ? "−" : "+"}${duration(Math.abs(at))}` : "then" } },
    y: { stacked: true, beginAtZero: true, suggestedMax: 5, ticks: { precision: 0 } },
  }, { interaction: { mode: "index", intersect: false } });
}

function chartEndings(apps) {
  const kinds = Object.keys(ENDINGS).filter(kind => apps.some(app => app.counters[kind]));
  const said = apps.map(app => `${app.label}: ` + kinds.filter(kind => app.counters[kind])
    .map(kind => `${app.counters[kind]} ${ENDINGS[kind][0]}`).join(", "));
  drawChart("chart-endings", "bar", `Endings. ${said.join("; ") || "none"}`, {
    labels: apps.map(app => short(app.label)),
    datasets: kinds.map(kind => ({ label: ENDINGS[kind][0], backgroundColor: ENDINGS[kind][1],
      data: apps.map(app => app.counters[kind]) })),
  }, { x: { stacked: true, ticks: { precision: 0 } }, y: { stacked: true } }, { indexAxis: "y" });
}

// One bar is two of the segment's buckets; empty bars at either end are left out.
function chartLifetimes(all) {
  // Those of a period that leaves something out are not known.
  const apps = all.filter(app => app.counters.lifetime_seconds);
  const bounds = apps.length ? apps[0].counters.lifetime_seconds.le : [];
  const labels = bounds.filter((_, i) => i % 2 === 0).map(bound => `< ${duration(bound)}`).concat("longer");
  const folded = apps.map(app => labels.map((_, i) => {
    const count = app.counters.lifetime_seconds.count;
    return (i ? count[2 * i - 1] ?? 0 : 0) + (count[2 * i] ?? 0);
  }));
  const filled = labels.map((_, i) => i).filter(i => folded.some(counts => counts[i]));
  const from = Math.max(0, (filled[0] ?? 0) - 1), to = (filled[filled.length - 1] ?? labels.length - 2) + 2;
  const fullest = filled.reduce((best, i) => {
    const sum = folded.reduce((all, counts) => all + counts[i], 0);
    return sum > best[1] ? [i, sum] : best;
  }, [0, 0]);
  drawChart("chart-lifetimes", "bar", fullest[1]
    ? `Lifetimes: ${fullest[1]} connections, the most, lived ${labels[fullest[0]]}` : all.length > apps.length ? "Lifetimes: known only since always" : "Lifetimes: none yet", {
    labels: labels.slice(from, to),
    datasets: apps.map((app, i) => ({ label: app.label, data: folded[i].slice(from, to),
      backgroundColor: i < TOP ? colorOf(app.label) : GREY[OTHER] })),
  }, { x: { stacked: true, ticks: { maxTicksLimit: 12 } }, y: { stacked: true, ticks: { precision: 0 } } });
}

useColors();
