// The page: puts its parts together, and shows each what the place and the queue say.

import { choose } from "./theme.js";
import { Tiles, Workers } from "./overview.js";
import { JobPanel } from "./job.js";
import { JobList } from "./jobs.js";
import { Live } from "./live.js";
import { here, watch } from "./location.js";
import { ThroughputChart } from "./shared/chart.js";
import { setAttributes, setText } from "./shared/dom.js";
import { count } from "./shared/format.js";
import { Stats } from "./stats.js";

const part = (id) => document.getElementById(id);
const LIVE = {
  connecting: "Connecting…",
  live: "Live",
  polling: "Live, by asking",
  lost: "Server not reached, trying again…",
  login: "Logged out",
};

const BESIDE = matchMedia("(min-width: 1180px)"); // as in page.css

choose(part("theme"), part("theme-mark"));
const tiles = new Tiles(part("tiles"));
const workers = new Workers(part("workers"));
const chart = new ThroughputChart(part("throughput"));
const stats = new Stats(part("stats"));
const list = new JobList({
  table: part("jobs-table"),
  title: part("jobs-title"),
  form: part("filters"),
  search: part("search"),
  queue: part("queue"),
  note: part("filter-note"),
  older: part("older"),
  newest: part("newest"),
  pager: part("pager"),
  pageNote: part("page-note"),
  onOpen: () => {
    part("job").scrollIntoView({ block: BESIDE.matches ? "nearest" : "start" });
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

let stamp = null;

watch((place) => {
  const showsStats = place.view === "stats";
  part("jobs-view").hidden = showsStats;
  part("stats-view").hidden = !showsStats;
  part("jobs-view").classList.toggle("qp-open", Boolean(place.job));
  const view = showsStats ? "stats" : place.state === "dead" ? "dead" : "jobs";
  for (const link of document.querySelectorAll(".qp-nav a")) {
    setAttributes(link, { "aria-current": link.dataset.view === view ? "page" : null });
  }
  tiles.mark(place);
  list.moved(place);
  list.mark(place.job);
  panel.moved(place);
  stats.moved(place);
});

new Live({
  onOverview(overview) {
    trouble("");
    tiles.update(overview.counts, here());
    workers.update(overview.workers, overview.paused);
    chart.update(overview.throughput);
    const { processing, dead } = overview.counts;
    part("dead-badge").hidden = !dead;
    setText(part("dead-badge"), dead ? count(dead) : "");
    document.title = [processing ? `${count(processing)} running` : "", dead ? `${count(dead)} dead` : ""].filter(Boolean).concat("queuectl").join(" · ");
    if (String(overview.stamp) === stamp) return;
    stamp = String(overview.stamp);
    list.changed();
    panel.changed();
    stats.changed();
  },
  onTrouble: trouble,
  onStatus(kind) {
    setAttributes(part("live"), { "data-kind": kind });
    setText(part("live-text"), LIVE[kind]);
    if (kind === "login") trouble("You are logged out here. Log in to Jupyter again, or open the address that 'queuectl dashboard' prints.");
    if (kind === "lost") stamp = null;
  },
});

function trouble(text) {
  setText(part("trouble"), text);
  part("trouble").hidden = !text;
}

part("skip").addEventListener("click", (event) => {
  event.preventDefault();
  list.focus();
});
