// SPDX-License-Identifier: MIT
//
// The page of `twshim serve`, and of `--html`, which embeds the data in the page. Data from the API
// is untrusted and goes only into textContent and chart labels. While it is open and visible, the
// page asks once per second; if answers fail, it marks what it shows as stale. Everything that
// could grow is bounded: samples, rows, colours.
"use strict";

const EVERY_MS = 1000, STALE_MS = 3500, GIVE_UP_MS = 10000;
const KEPT_S = 600; // of history
const SHOWN = 12; // applications in a chart

const $ = id => document.getElementById(id);
const embedded = $("data");
const number = value => value === null || value === undefined ? "?" : value.toLocaleString("en-US");
const percent = (part, whole) => {
  if (!whole) return "–";
  const share = 100 * part / whole;
  const fine = (share > 0 && share < 10) || (share > 99 && share < 100);
  return `${fine ? Math.min(99.9, share).toFixed(1) : Math.round(share)} %`;
};
// Port fill, as in the text report: 100 % only if no port is left.
const filled = ports => {
  const share = 100 * ports.used / ports.range;
  return `${share < 5 ? share.toFixed(1) : Math.floor(share)} %`;
};
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
const clock = generated => `${generated.slice(11, 19)} UTC`;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Leaves unchanged text alone, so that selections stay and screen readers do not repeat it.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Keeps one child per item: makes missing children, updates all, removes the rest.
function each(parent, items, make, tell) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, i) => {
    if (!parent.children[i]) parent.append(make());
    tell(parent.children[i], item);
  });
}

// ---------------------------------------------------------------- what the report says

// As in every other view: also those that a policy ended instead.
const closedFirst = ({ counters: c }) => c.ended_local_fin + c.ended_fin_reset + c.ended_reset_policy;
const ended = row => Object.keys(ENDINGS).reduce((sum, kind) => sum + row.counters[kind], 0);
const waiting = row => row.time_wait.confirmed ?? row.time_wait.predicted;
const byTimeWait = (a, b) => waiting(b) - waiting(a) || b.counters.attempts - a.counters.attempts;

// Applications by TIME_WAIT; two with the same name are shown by their paths.
function applications(report) {
  const seen = new Map();
  report.apps.forEach(app => seen.set(app.app, (seen.get(app.app) ?? 0) + 1));
  return report.apps.map(app => Object.assign({ label: seen.get(app.app) > 1 ? app.exe : app.app }, app))
    .sort(byTimeWait);
}

const speeds = []; // the last readings: {seconds, opened: Map of application to connections}
function rates(apps, seconds) {
  const now = { seconds, opened: new Map(apps.map(app => [app.exe, app.counters.established])) };
  speeds.push(now);
  while (speeds.length > 6 || seconds - speeds[0].seconds > 15) speeds.shift();
  const before = speeds[0], passed = seconds - before.seconds, made = new Map();
  if (passed <= 0) return made;
  now.opened.forEach((value, exe) => made.set(exe, Math.max(0, value - (before.opened.get(exe) ?? 0)) / passed));
  return made;
}

const perSecond = rate => rate === undefined ? "–" : number(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate));

// ------------------------------------------------------------------------ the headline

function whose(report, apps, destinations) {
  const { time_wait: all, owned, incoming, unowned, error } = report.kernel;
  if (all === null) return `The kernel's table cannot be read: ${error}`;
  if (!all) return "No port is held by TIME_WAIT.";
  if (!owned) return "None of them was left by an application that ran with the shim.";
  const [first, to] = [apps[0], destinations.find(one => one.exe === apps[0].exe)];
  const count = first.time_wait.confirmed;
  const most = to && to.time_wait.confirmed ? `, ${to.time_wait.confirmed === count ? "all" :
    number(to.time_wait.confirmed)} to ${to.to}` : "";
  const leave = first.time_wait.newest_leaves_s ? `, the last to leave in ${Math.ceil(first.time_wait.newest_leaves_s)} s` : "";
  const others = owned - count, rest = [];
  const more = apps.filter(app => app.time_wait.confirmed).length - 1;
  if (others > 0) rest.push(`${plural(more, "other application")} ${more === 1 ? "has" : "have"} ${number(others)}`);
  if (incoming) rest.push(`${number(incoming)} ${incoming === 1 ? "is" : "are"} incoming, at ports where a server listens`);
  if (unowned) rest.push(`${number(unowned)} ${unowned === 1 ? "has" : "have"} no known owner`);
  return `${first.label} has ${number(count)} of them (${percent(count, all)})${most}${leave}.` +
    (rest.length ? ` ${rest.join("; ")}.` : "");
}

// Explains TIME_WAIT sockets that are missing, as the text report does.
function gone(report) {
  const count = report.time_wait.gone_early, { max_tw_buckets: most, tw_overflow: never } = report.kernel;
  const sockets = `${number(count)} TIME_WAIT ${count === 1 ? "socket" : "sockets"}`;
  if (!count) return "";
  if (!never) return `${sockets} ended early: the peer reset the connection after our close, ` +
    "the port was reused, or the program went to another network namespace";
  return `${sockets} ${count === 1 ? "is" : "are"} missing: tcp_max_tw_buckets, ${number(most)}, was reached, and the kernel did not create ` +
    `${number(never)} in this network namespace (TCPTimeWaitOverflow); or the peer reset the connection after our ` +
    "close, the port was reused, or the program went to another network namespace";
}

function showTiles(report, speed) {
  const { total } = report;
  const failed = Object.keys(total).filter(name => name.startsWith("failed_"))
    .reduce((sum, name) => sum + total[name], 0);
  const rate = speed.size ? [...speed.values()].reduce((sum, one) => sum + one, 0) : undefined;
  const tiles = [
    ["tile-owned", "TIME_WAIT of known applications", number(report.kernel.owned)],
    ["tile-opened", "connections opened", number(total.established)],
    ...(embedded ? [] : [["tile-rate", "opened per second", perSecond(rate)]]),
    ["tile-open", "open now", number(total.open)],
    ["tile-first", "closed here first", percent(closedFirst({ counters: total }), ended({ counters: total }))],
    ["tile-failed", "connects failed", number(failed)],
    ["tile-no-port", "failed: no free port", number(total.failed_no_port), total.failed_no_port > 0],
    ...(total.ended_unseen ? [["tile-unseen", "ended unseen", number(total.ended_unseen)]] : []),
  ];
  each($("tiles"), tiles, () => {
    const made = element("div");
    made.append(element("dt"), element("dd"));
    return made;
  }, (made, [id, title, value, alert]) => {
    say(made.firstChild, title);
    say(made.lastChild, value);
    made.lastChild.id = id;
    made.className = alert ? "alert" : "";
  });
}

// ------------------------------------------------------------------------- the sections

const samples = []; // {seconds, values}: at most KEPT_S of it
function remember(report, apps, seconds) {
  const values = report.kernel.time_wait === null ? null : new Map();
  if (values) {
    apps.forEach((app, i) => {
      const name = i < SHOWN ? app.label : OTHER;
      if (app.time_wait.confirmed) values.set(name, (values.get(name) ?? 0) + app.time_wait.confirmed);
    });
    values.set(INCOMING, report.kernel.incoming);
    values.set(UNOWNED, report.kernel.unowned);
  }
  const last = samples[samples.length - 1];
  if (last && seconds - last.seconds > STALE_MS / 1000) // a gap, because nothing was known meanwhile
    samples.push({ seconds: last.seconds + 0.5, values: null });
  samples.push({ seconds, values });
  while (seconds - samples[0].seconds > KEPT_S) samples.shift();
  while (samples.length > 2 * KEPT_S) samples.shift();
}

// How far back the report's sockets are complete, in seconds: to the start of the run, if that was
// less than a minute ago.
const since = run => run && run.elapsed_seconds < 60 ? -Math.ceil(run.elapsed_seconds) : 0;

function armValue(unit, value) {
  if (typeof value !== "number") return "–";
  const size = Math.abs(unit === "per 1,000" ? value / 10 : value);
  const shown = unit === "seconds" ? duration(size) : number(+size.toPrecision(4));
  return `${value < 0 ? "−" : ""}${shown}${unit === "bytes" ? " B" : ""}`;
}

// Without a blocking connect() there is no line for its latency; say why.
const NO_LATENCY = "The latency of connect() is measured only for blocking calls, and there were none.";
const blocked = arm => arm.against_first.some(row => row.measure === "connect_p50");

// One table per arm, except for the first of each experiment: what differs, and how certain that is.
function showArms(report) {
  const first = new Map();
  report.arms.forEach(arm => { if (!first.has(arm.experiment)) first.set(arm.experiment, arm); });
  const compared = report.arms.filter(arm => arm !== first.get(arm.experiment));
  const about = arm => `${arm.arm}, ${plural(arm.counters.attempts, "connection")}, ${number(arm.time_wait_confirmed)} TIME_WAIT now`;
  const cell = name => row => armValue(row.unit, row[name]);
  $("experiment").hidden = report.arms.length === 0;
  each($("arms"), compared, () => {
    const made = element("div", undefined, "scroll"), shown = element("table");
    made.tabIndex = 0;
    made.setAttribute("role", "region");
    shown.createCaption();
    made.append(shown, element("p", undefined, "note"));
    return made;
  }, (made, arm) => {
    const said = `${arm.experiment}: ${about(arm)}; against ${about(first.get(arm.experiment))}`;
    say(made.firstChild.caption, said);
    made.setAttribute("aria-label", said);
    table(made.firstChild, [
      { title: "measure", cell: row => row.measure.replaceAll("_", " ") + (row.unit === "per 1,000" ? ", %" : "") },
      { title: "first arm", n: true, minor: true, cell: cell("first") }, { title: "this arm", n: true, minor: true, cell: cell("this") },
      { title: "difference", n: true, cell: cell("difference") },
      { title: "95 % interval", n: true, cell: row => typeof row.low === "number"
        ? `${armValue(row.unit, row.low)} to ${armValue(row.unit, row.high)}` : "–" },
      { title: "verdict", cell: row => row.verdict,
        style: row => row.verdict === "better" || row.verdict === "worse" ? row.verdict : "" }], arm.against_first);
    made.lastChild.hidden = blocked(arm);
    say(made.lastChild, blocked(arm) ? "" : NO_LATENCY);
  });
}

const flat = apps => apps.flatMap(app => app.destinations
  .map(one => Object.assign({ label: app.label, exe: app.exe }, one))).sort(byTimeWait);

// The host, and the rules that the shown processes followed.
function about(report) {
  const rules = [...new Set(report.rules.map(one => one.rule))];
  const policy = report.arms.length ? `experiment ${report.arms[0].experiment}`
    : rules.length ? `rules ${rules.slice(0, 3).join(", ")}${rules.length > 3 ? " …" : ""}` : "no rule has acted";
  return `${report.host ?? "this host"} · policy: ${policy} · ${period(report)}`;
}

// The period that the counts cover, and what is not in it.
function period(report) {
  if (!report.since) return "nothing is counted yet";
  const day = report.since.slice(0, 10) === report.until.slice(0, 10) ? "" : `${report.since.slice(0, 10)} `;
  const left = report.older_left_out ? `; ${number(report.older_left_out)} older connects are left out` : "";
  const most = report.perhaps_older ? `; at most: ${number(report.perhaps_older)} may be older` : "";
  return `counted since ${day}${clock(report.since)}${left}${most}`;
}

let shown = () => {}; // shows the last report once more, for another choice of the filters

function showReport(report, seconds) {
  const all = applications(report), speed = rates(all, seconds), apps = filtered(all);
  const everywhere = flat(all), destinations = flat(apps);
  shown = () => showReport(report, seconds);
  say($("time-wait"), number(report.kernel.time_wait));
  say($("whose"), whose(report, all, everywhere));
  showTiles(report, speed);
  if (embedded) {
    leavingTimeWait(apps.filter(app => app.time_wait_leaving && waiting(app)).slice(0, TOP)
      .map(app => [app.label, app.time_wait_leaving]), since(report.run));
  } else {
    remember(report, all, seconds);
    chartTimeWait(samples, KEPT_S);
  }
  $("gone").hidden = !report.time_wait.gone_early;
  say($("gone"), gone(report));
  showPorts(destinations);
  chartEndings(apps.filter(ended).slice(0, SHOWN));
  chartLifetimes(apps.filter(ended).slice(0, SHOWN));
  showArms(report);
  showTables(apps, destinations, speed);
  const named = new Set(apps.map(app => app.exe));
  showProcesses(report.processes.filter(one => named.has(one.exe)));
  say($("about"), about(report));
  document.title = `${number(report.kernel.time_wait)} TIME_WAIT – ${report.host ?? "twshim"}`;
  document.body.classList.remove("waiting");
}

// ------------------------------------------------------------------------- the findings

function findingBox(finding) {
  const box = element("div", undefined, `finding ${finding.verdict}`), title = element("p"), about = [finding.app, finding.to];
  title.append(element("b", finding.verdict, "verdict"), element("b", finding.title ?? finding.id),
    element("span", ` ${finding.id}`, "id"));
  if (about.some(Boolean)) title.append(element("span", ` ${about.filter(Boolean).join(" to ")}`, "id"));
  box.append(title, element("p", finding.evidence ?? finding.text));
  if (finding.advice) box.append(element("p", finding.advice, "do"));
  return box;
}

let told = ""; // the findings on the page, as JSON
function showFindings({ findings, verdict }, when) {
  say($("findings-when"), when);
  say($("verdict"), `${verdict}.`);
  if (told === JSON.stringify(findings)) return;
  told = JSON.stringify(findings);
  const quiet = one => one.verdict === "ok" || one.verdict === "unknown";
  const wrong = findings.filter(one => !quiet(one)), fine = findings.filter(quiet);
  const urgent = wrong.filter(one => one.verdict === "problem" || one.verdict === "warning");
  const worst = wrong.length ? wrong[0].verdict : "ok";
  const list = wrong.map(findingBox);
  if (!list.length) list.push(element("p", "Nothing needs doing.", "none"));
  if (fine.length) {
    const more = element("details");
    more.append(element("summary", `${plural(fine.length, "check")} without a finding`), ...fine.map(findingBox));
    list.push(more);
  }
  $("findings").replaceChildren(...list);
  $("headline").className = worst;
  $("advice").replaceChildren(urgent.length ? findingBox(urgent[0]) : element("p", wrong.length
    ? "Nothing is urgent." : "Nothing needs doing.", "none"));
  if (wrong.length > 1) {
    const more = element("a", `all ${plural(wrong.length, "finding")}`, "note");
    more.href = "#section-findings";
    $("advice").append(more);
  }
}

// ----------------------------------------------------------------------------- refreshing

const now = () => performance.now();
let answered = -Infinity, asOf = "", checked = "", timer = null, asking = false;

async function get(path) {
  const giveUp = new AbortController(), late = setTimeout(() => giveUp.abort(), GIVE_UP_MS);
  try {
    const answer = await fetch(path, { cache: "no-store", signal: giveUp.signal });
    if (answer.status === 400) throw new Error(await answer.text());
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
    return await answer.json();
  } finally {
    clearTimeout(late);
  }
}

// Old numbers must not look new, not even while an answer is slow.
function tellAge(reason) {
  const stale = now() - answered > STALE_MS;
  document.body.classList.toggle("stale", stale && asOf !== "");
  $("alarm").hidden = !stale;
  if (stale)
    say($("alarm"), `twshim serve does not answer${reason ? ` (${reason})` : ""}. ` +
      (asOf ? `The numbers below are from ${asOf}. Asking again every second.` : "Asking again every second."));
  say($("state"), stale ? asOf ? `as of ${asOf}: stale` : "no answer" : `live, as of ${asOf}`);
}

async function refresh() {
  clearTimeout(timer);
  timer = null;
  if (asking || document.visibilityState !== "visible") return;
  asking = true;
  let reason = "";
  try {
    const since = $("since").value;
    const report = await get(since === USUAL ? "api/report" : `api/report?since=${encodeURIComponent(since)}`);
    answered = now();
    asOf = clock(report.generated);
    showReport(report, answered / 1000);
    // Each time: the advice is next to the bars, and must be about the same numbers.
    const doctor = await get("api/doctor");
    checked = clock(doctor.generated);
    showFindings(doctor, `as of ${checked}`);
  } catch (error) {
    if (checked) say($("findings-when"), `as of ${checked}: stale`);
    reason = error.name === "AbortError" ? "for ten seconds" : error.message;
  }
  asking = false;
  tellAge(reason);
  if (document.visibilityState === "visible") timer = setTimeout(refresh, EVERY_MS);
}

const USUAL = $("since").value; // what the API takes where no period is asked for

// The period is part of the page's address, so that it can be given to a colleague.
function choosePeriod() {
  const asked = new URLSearchParams(location.search).get("since"), list = $("since");
  if (asked && ![...list.options].some(one => one.value === asked)) list.add(new Option(asked, asked));
  if (asked) list.value = asked;
  $("period").hidden = false;
  list.addEventListener("change", () => {
    history.replaceState(null, "", `?since=${encodeURIComponent(list.value)}`);
    refresh();
  });
}

function begin() {
  choosePeriod();
  setInterval(() => { if (asking && document.visibilityState === "visible" && answered > 0) tellAge(""); }, EVERY_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    if (asOf) tellAge("asking");
    refresh();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetCharts(); refresh(); });
  refresh();
}

function showOnce() {
  const report = JSON.parse(embedded.textContent), { run } = report;
  $("h-time-wait").textContent = "TIME_WAIT by application, and when it leaves";
  showReport(report, 0);
  showFindings({ findings: report.advice, verdict: report.verdict }, "");
  say($("state"), (run ? `${run.command}: exit status ${run.exit_status}, ${duration(run.elapsed_seconds)}; ` : "") +
    `as of ${report.generated.replace("T", " ").replace("Z", " UTC")}`);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetCharts(); showReport(report, 0); });
}

["filter-app", "filter-to"].forEach(id => $(id).addEventListener("change", () => shown()));
if (embedded) showOnce();
else begin();
