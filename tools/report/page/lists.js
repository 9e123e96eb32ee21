// SPDX-License-Identifier: MIT
//
// The lists and tables of the page, and what its filters choose. All texts come from the host and
// go only into textContent.
"use strict";

const ROWS = 40; // in a table
const OFFERED = 200; // names in a filter

// Columns: {title, cell(row), n: a number, minor: hidden on a phone, style(row)}. The first column
// names the row.
function table(target, columns, rows) {
  const kind = column => [column.n ? "n" : "to", column.minor ? "minor" : ""].join(" ").trim();
  if (!target.tHead) {
    const line = target.createTHead().insertRow();
    columns.forEach(column => {
      const head = element("th", column.title, kind(column));
      head.scope = "col";
      line.append(head);
    });
    target.createTBody();
  }
  each(target.tBodies[0], rows, () => {
    const line = element("tr");
    columns.forEach((column, i) => {
      const cell = element(i ? "td" : "th", "", kind(column));
      if (!i) cell.scope = "row";
      line.append(cell);
    });
    return line;
  }, (line, row) => columns.forEach((column, i) => {
    say(line.children[i], column.cell(row));
    if (column.style) line.children[i].className = `${kind(column)} ${column.style(row)}`.trim();
    if (!i && row.exe && line.title !== row.exe) line.title = row.exe;
  }));
}

// One bar per destination: its ports are the kernel's, whichever applications use them.
function pairs(destinations) {
  const found = new Map();
  destinations.forEach(one => {
    const before = found.get(one.to);
    if (!before) found.set(one.to, { to: one.to, ports: one.ports, names: [one.label] });
    else before.names.push(one.label);
    if (before && one.ports.fill > before.ports.fill) before.ports = one.ports;
  });
  return [...found.values()].map(one => Object.assign(one, { labels: one.names.slice(0, 3).join(", ") +
    (one.names.length > 3 ? ` and ${one.names.length - 3} more` : "") }));
}

function showPorts(destinations) {
  const top = pairs(destinations.filter(one => one.ports.used && one.ports.range))
    .sort((a, b) => b.ports.fill - a.ports.fill).slice(0, 8);
  if (!top.length) {
    $("ports").replaceChildren(element("li", "these applications use none", "none"));
    return;
  }
  if ($("ports").firstElementChild?.className) $("ports").replaceChildren();
  each($("ports"), top, () => {
    const made = element("li"), label = element("div", undefined, "label"), who = element("span", undefined, "who");
    const meter = element("div", undefined, "meter");
    who.append(element("b"), " ", element("span"));
    label.append(who, element("span", undefined, "value"));
    meter.append(element("i"));
    meter.setAttribute("role", "meter");
    meter.setAttribute("aria-valuemin", "0");
    meter.setAttribute("aria-valuemax", "100");
    made.append(label, meter);
    return made;
  }, (made, one) => {
    const [label, meter] = made.children, fill = Math.min(100, 100 * one.ports.fill);
    say(label.firstChild.firstChild, one.to);
    say(label.firstChild.lastChild, one.labels);
    say(label.lastChild, `${number(one.ports.used)} of ${number(one.ports.range)}, ${filled(one.ports)}`);
    meter.className = `meter ${fill >= 80 ? "problem" : fill >= 50 ? "warning" : ""}`.trim();
    meter.firstChild.style.width = `${fill}%`;
    meter.setAttribute("aria-valuenow", fill.toFixed(1));
    meter.setAttribute("aria-label", `ports in use to ${one.to} by ${one.labels}`);
  });
}

function showTables(apps, destinations, speed) {
  const common = [
    { title: "opened", n: true, cell: row => number(row.counters.established) },
    { title: "open", n: true, minor: true, cell: row => number(row.counters.open) },
    { title: "short-lived", n: true, minor: true, cell: row => percent(row.counters.short_lived, ended(row)) },
    { title: "closed here first", n: true, minor: true, cell: row => percent(closedFirst(row), ended(row)) },
    { title: "TIME_WAIT", n: true, cell: row => number(row.time_wait.confirmed) },
  ];
  table($("applications"), [{ title: "application", cell: row => row.label },
    { title: "processes", n: true, minor: true, cell: row => row.alive === row.processes ? number(row.processes)
      : `${number(row.processes)}, ${number(row.alive)} alive` },
    ...(embedded ? [] : [{ title: "per second", n: true, cell: row => perSecond(speed.get(row.exe)) }]), ...common],
  apps.slice(0, ROWS));
  table($("destinations"), [{ title: "to", cell: row => row.to }, { title: "application", cell: row => row.label },
    ...common, { title: "leave in", n: true, minor: true,
      cell: row => row.time_wait.newest_leaves_s ? `${Math.ceil(row.time_wait.newest_leaves_s)} s` : "–" },
    { title: "ports", n: true, minor: true, cell: row => row.ports.range
      ? `${number(row.ports.used)} of ${number(row.ports.range)}` : "?" }], destinations.slice(0, ROWS));
  const more = (id, rows) => say($(id), rows.length > ROWS ? `the ${ROWS} with the most TIME_WAIT, of ${number(rows.length)}` : "");
  more("applications-more", apps);
  more("destinations-more", destinations);
}

function showProcesses(processes) {
  table($("processes"), [{ title: "pid", cell: row => `${row.pid}` }, { title: "application", cell: row => row.app },
    ...(embedded ? [] : [{ title: "per second", n: true, cell: row => perSecond(row.rate) }]),
    { title: "opened", n: true, cell: row => number(row.opened) },
    { title: "open", n: true, cell: row => number(row.open) },
    { title: "TIME_WAIT", n: true, cell: row => number(row.time_wait) }], processes.slice(0, ROWS));
  $("section-processes").hidden = !processes.length;
  say($("processes-more"), processes.length > ROWS ? `the ${ROWS} with the most TIME_WAIT` : "");
}

// ------------------------------------------------------------------------- the filters

// The choice of an application or destination. It stays while the option does.
function offer(select, names) {
  const wanted = ["", ...names], there = [...select.options].map(one => one.value);
  if (wanted.length === there.length && wanted.every((name, i) => name === there[i])) return;
  const chosen = select.value;
  select.replaceChildren(...wanted.map(name => Object.assign(element("option", name || "all"), { value: name })));
  select.value = wanted.includes(chosen) ? chosen : "";
}

// Only what the filters choose. With a destination, an application shows its part of it.
function filtered(apps) {
  const app = $("filter-app"), to = $("filter-to");
  offer(app, apps.map(one => one.label).slice(0, OFFERED));
  offer(to, [...new Set(apps.flatMap(one => one.destinations.map(there => there.to)))].slice(0, OFFERED));
  const chosen = app.value ? apps.filter(one => one.label === app.value) : apps;
  if (!to.value) return chosen;
  return chosen.flatMap(one => {
    const there = one.destinations.find(part => part.to === to.value);
    return there ? [Object.assign({}, one, { counters: there.counters, time_wait: there.time_wait,
      time_wait_leaving: undefined, destinations: [there] })] : [];
  });
}
