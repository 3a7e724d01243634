// Assembles the page and passes location changes and overviews to its parts.

import { Tiles, Workers } from "./overview.js";
import { JobPanel } from "./job.js";
import { JobList } from "./jobs.js";
import { EventStream } from "./event_stream.js";
import { currentLocation, onNavigate } from "./location.js";
import { ThroughputChart } from "./shared/chart.js";
import { setAttributes, setText } from "./shared/dom.js";
import { count, visible } from "./shared/format.js";
import { Stats } from "./stats.js";
import { setUpTheme } from "./theme.js";

const part = (id) => document.getElementById(id);
const STATUS_TEXTS = {
  connecting: "Connecting…",
  live: "Live",
  polling: "Live (polling)",
  lost: "Connection lost, reconnecting…",
  login: "Logged out",
  stopped: "Server stopped",
};
const ADVICE = {
  login: "You are logged out, or the server was restarted. In Jupyter, reload this page; otherwise open the address that 'queuectl dashboard' printed.",
  stopped: "JupyterHub has stopped the Jupyter server. Start it from the hub's home page, then reload this page.",
};

const WIDE = matchMedia("(min-width: 1180px)"); // as in page.css: the panel is beside the list

setUpTheme(part("theme"), part("theme-symbol"));
const tiles = new Tiles(part("tiles"));
const workers = new Workers(part("workers"));
const chart = new ThroughputChart(part("throughput"));
const stats = new Stats({ numbers: part("stats"), throughput: part("all-throughput"), run_time: part("run-times") });
const list = new JobList({
  table: part("jobs-table"),
  title: part("jobs-title"),
  form: part("filters"),
  search: part("search"),
  queue: part("queue"),
  tag: part("tag"),
  errors: part("errors"),
  note: part("filter-note"),
  older: part("older"),
  newest: part("newest"),
  pager: part("pager"),
  pageNote: part("page-note"),
  onOpen: () => {
    part("job").scrollIntoView({ block: WIDE.matches ? "nearest" : "start" });
    part("job").focus({ preventScroll: true });
  },
});
const panel = new JobPanel({
  root: part("job"),
  title: part("job-title"),
  state: part("job-state"),
  close: part("job-close"),
  trouble: part("job-trouble"),
  body: part("job-body"),
  command: part("job-command"),
  facts: part("job-facts"),
  metrics: part("job-metrics"),
  artifacts: part("job-artifacts"),
  extra: part("job-extra"),
  attempts: part("job-attempts"),
  logTitle: part("log-title"),
  streams: part("log-streams"),
  follow: part("log-follow"),
  note: part("log-note"),
  whole: part("log-whole"),
  log: part("log"),
  onClose: () => list.focus(),
});

let shownVersion = null;
let first = true;
let processing = 0;

const LIVE_INTERVAL_MS = 1000;
setInterval(() => {
  if (document.hidden) return;
  if (processing) list.updateLive();
  panel.updateLive();
}, LIVE_INTERVAL_MS);

onNavigate((location) => {
  const showsStats = location.view === "stats";
  part("jobs-view").hidden = showsStats;
  part("stats-view").hidden = !showsStats;
  part("now").hidden = showsStats;
  part("jobs-view").classList.toggle("qp-open", Boolean(location.job));
  const view = showsStats ? "stats" : location.state === "dead" ? "dead" : "jobs";
  for (const link of document.querySelectorAll(".qp-nav a")) {
    setAttributes(link, { "aria-current": link.dataset.view === view ? "page" : null });
  }
  tiles.markCurrent(location);
  list.onNavigate(location);
  list.markOpen(location.job);
  panel.onNavigate(location);
  stats.onNavigate(location);
});

new EventStream({
  onOverview(overview) {
    showTrouble("");
    tiles.update(overview.counts, currentLocation());
    workers.update(overview.workers, overview.paused, overview.hints, overview.limits);
    chart.update(overview.throughput);
    setText(part("eta"), overview.eta);
    setText(part("queue-path"), visible(overview.path));
    part("queue-path").title = `Queue ${visible(overview.path)}`;
    const { dead } = overview.counts;
    list.failures = dead + overview.counts.failed;
    if (processing && !overview.counts.processing) list.table.showLive({});
    processing = overview.counts.processing;
    part("dead-badge").hidden = !dead;
    setText(part("dead-badge"), dead ? count(dead) : "");
    if (first && currentLocation().job && !WIDE.matches) part("job").scrollIntoView(); // a bookmark of a job, on a phone
    first = false;
    document.title = [processing ? `${count(processing)} running` : "", dead ? `${count(dead)} dead` : ""].filter(Boolean).concat("queuectl").join(" · ");
    if (String(overview.version) === shownVersion) return;
    shownVersion = String(overview.version);
    list.queueChanged();
    panel.queueChanged();
    stats.queueChanged();
  },
  onTrouble: showTrouble,
  onStatus(status) {
    setAttributes(part("live"), { "data-kind": status });
    setText(part("live-text"), STATUS_TEXTS[status]);
    list.table.setStale(status === "lost" || status in ADVICE);
    if (status in ADVICE) showTrouble(ADVICE[status]);
    if (status === "lost") shownVersion = null;
  },
});

function showTrouble(text) {
  setText(part("trouble"), text);
  part("trouble").hidden = !text;
}

part("skip").addEventListener("click", (event) => {
  event.preventDefault();
  list.focus();
});
