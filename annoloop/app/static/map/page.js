// The map page: what is drawn, by which colours, and which images are chosen.

import { groups as grouped, NOTHING } from "./facets.js";
import { inside, inView, Lasso, nearest } from "./lasso.js";
import { images, LISTED, showCard, showChosen, showLegend } from "./lists.js";
import { Plot } from "./plot.js";
import { read } from "./read.js";

const { d3 } = window;
const $ = (id) => document.getElementById(id);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const REACH = 14; // pixels from the pointer to the point that it means

let map = null, plot = null, groups = [], hidden = new Set(), chosen = [], hovered = -1, zoom = null, lasso = null;

function tell(text) {
  $("message").hidden = !text;
  $("message").textContent = text || "";
  $("loading").hidden = true;
}

const colour = (style) => (dark.matches ? style.dark : style.light);
const shown = () => groups.filter((group) => !hidden.has(group));

// --- drawing ----------------------------------------------------------------------------------

/** Points are as wide as their number allows: a few are seen, many do not cover each other. */
function width() {
  return Math.max(2.5, Math.min(11, 60 / map.n ** 0.28));
}

function layers() {
  const wide = width(), picked = new Set(chosen);
  const layer = ({ style }, rows, alpha) => ({
    rows, alpha, shape: style.shape, colour: colour(style), width: wide * (style.wide || 1),
  });
  // The commonest lie lowest, and what has no value below them all.
  const order = shown().sort((a, b) => (b.style === NOTHING) - (a.style === NOTHING) || b.count - a.count);
  if (!picked.size) return order.map((group) => layer(group, group.rows, 0.9));
  const apart = (group, is) => group.rows.filter((row) => picked.has(row) === is);
  const ring = { shape: "symbolCircle", colour: dark.matches ? "#ffffff" : "#101416", alpha: 1, width: wide + 3 };
  return [
    ...order.map((group) => layer(group, apart(group, false), 0.22)),
    ...order.map((group) => ({ ...ring, rows: apart(group, true) })),
    ...order.map((group) => layer(group, apart(group, true), 1)),
  ];
}

function paint() {
  plot.show(layers());
  $("map").dataset.colour = $("facet").value;
  $("map").dataset.chosen = chosen.length;
}

function recolour() {
  const facet = map.facets.find(({ name }) => name === $("facet").value) || map.facets[0];
  groups = grouped(facet);
  hidden = new Set();
  document.querySelectorAll("[data-facet]").forEach((note) => { note.hidden = note.dataset.facet !== facet.name; });
  refresh();
}

function refresh() {
  showLegend($("legend"), groups, hidden, { colour, toggle });
  $("all").disabled = !hidden.size;
  $("none").disabled = hidden.size === groups.length;
  hover(-1);
  paint();
}

function toggle(group) {
  if (!hidden.delete(group)) hidden.add(group);
  refresh();
  $("legend").children[groups.indexOf(group)].firstChild.focus();
}

// --- choosing ---------------------------------------------------------------------------------

function choose(rows, how) {
  chosen = rows.sort((a, b) => (map.path(a) < map.path(b) ? -1 : 1));
  const n = chosen.length;
  $("chosen-title").firstChild.data = n ? `${images(n)} ` : "No image ";
  $("chosen-how").textContent = how;
  $("chosen-note").textContent = n > LISTED ? `The first ${LISTED} by path are shown; copy and save take all ${n.toLocaleString("en")}.` : "";
  for (const id of ["copy", "save", "clear"]) $(id).disabled = !n;
  showChosen($("chosen"), map, chosen);
  $("chosen").scrollTop = 0;
  $("told").textContent = n ? `${images(n)} ${how}, listed beside the map` : `no image ${how}`;
  paint();
}

const clear = () => choose([], "chosen");

/** Out of what was begun last: a line, the choice, the lasso. */
function leave() {
  if (lasso.corners) lasso.stop();
  else if (chosen.length) clear();
  else setLasso(false);
}

function setLasso(on) {
  lasso.on = on;
  $("lasso").setAttribute("aria-pressed", String(on));
  $("stage").classList.toggle("lasso", on);
}

const paths = () => chosen.map((row) => `${map.path(row)}\n`).join("");

async function copy() {
  try {
    await navigator.clipboard.writeText(paths());
    $("told").textContent = `${images(chosen.length)}: paths copied`;
    $("copy").textContent = "Copied";
    setTimeout(() => { $("copy").textContent = "Copy paths"; }, 1500);
  } catch {
    tell("This browser does not let the page copy (beyond this machine it asks for TLS). Save the paths instead.");
  }
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([paths()], { type: "text/plain" }));
  link.download = "chosen.txt";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// --- pointer and keys -------------------------------------------------------------------------

function hover(row, spot) {
  const card = $("card");
  if (row !== hovered && row >= 0) showCard(card, map, row);
  hovered = row;
  card.hidden = row < 0;
  if (row < 0) return;
  const [wide, high] = plot.size;
  const x = spot[0] + 16 + card.offsetWidth > wide ? spot[0] - 16 - card.offsetWidth : spot[0] + 16;
  card.style.left = `${Math.max(0, x)}px`;
  card.style.top = `${Math.max(0, Math.min(high - card.offsetHeight, spot[1] - 20))}px`;
}

function listenToPointer(stage) {
  let waiting = 0;
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || event.buttons || lasso.corners) return;
    const spot = lasso.spot(event);
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => hover(nearest(plot, shown(), spot, REACH), spot));
  });
  stage.addEventListener("pointerleave", () => { cancelAnimationFrame(waiting); hover(-1); });
  stage.addEventListener("pointerdown", () => hover(-1));
  // d3 keeps the click that ends a drag to itself.
  stage.addEventListener("click", (event) => {
    if (lasso.on || event.shiftKey) return;
    const row = nearest(plot, shown(), lasso.spot(event), REACH);
    if (row >= 0) choose([row], "clicked");
  });
}

const STEPS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const within = event.target;
    if (within.closest("select, input, textarea, dialog")) return;
    const step = within === $("stage") || within === document.body ? STEPS[event.key] : null;
    const does = {
      "+": () => scale(1.5), "=": () => scale(1.5), "-": () => scale(1 / 1.5), "−": () => scale(1 / 1.5), 0: fit,
      l: () => setLasso(!lasso.on), v: listView, Escape: leave, "?": () => $("keys").showModal(),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!step && !does) return;
    event.preventDefault();
    if (step) move(step);
    else does();
  });
}

const scale = (by) => zoom.scaleBy(d3.select($("stage")), by);
const fit = () => zoom.transform(d3.select($("stage")), d3.zoomIdentity);
const listView = () => choose(inView(plot, shown()), "in view");

function move([across, down]) {
  const k = d3.zoomTransform($("stage")).k, [wide, high] = plot.size;
  zoom.translateBy(d3.select($("stage")), (0.12 * wide * across) / k, (0.12 * high * down) / k);
}

function listenToZoom(stage) {
  const place = () => {
    const [wide, high] = [stage.clientWidth, stage.clientHeight];
    zoom.extent([[0, 0], [wide, high]]).translateExtent([[-wide / 2, -high / 2], [1.5 * wide, 1.5 * high]]);
    plot.place(d3.zoomTransform(stage), wide, high);
  };
  zoom = d3.zoom().scaleExtent([0.7, 500]).on("zoom", () => { hover(-1); place(); });
  zoom.filter((event) => !event.button && (event.type === "wheel" || !event.ctrlKey) && !lasso.wants(event));
  d3.select(stage).call(zoom);
  new ResizeObserver(place).observe(stage);
  place();
}

// --- beginning --------------------------------------------------------------------------------

async function load() {
  const answer = await fetch("/api/map");
  if (!answer.ok) {
    const { error } = await answer.json();
    throw new Error(`${error.problem}. ${error.fix}`);
  }
  return read(await answer.arrayBuffer());
}

function moved() {
  $("map").dataset.view = plot.view().join(" ");
  $("map").dataset.share = plot.share.toFixed(2);
  $("map").dataset.drawn = Number($("map").dataset.drawn || 0) + 1;
}

async function begin() {
  const stage = $("stage");
  try {
    map = await load();
  } catch (error) {
    tell(error instanceof TypeError ? "The server does not answer. Load the page again when it runs." : error.message);
    return;
  }
  try {
    plot = new Plot($("points"), map, moved);
  } catch {
    $("map").dataset.ready = "no";
    tell("This browser gives the page no WebGL, so the map cannot be drawn. Turn on hardware acceleration or WebGL in its settings, or use another browser.");
    return;
  }
  lasso = new Lasso(stage, $("line"), (corners) => choose(inside(plot, shown(), corners), "within the line"));
  listenToZoom(stage);
  listenToPointer(stage);
  listenToKeys();
  $("facet").addEventListener("change", recolour);
  dark.addEventListener("change", refresh);
  const press = {
    in: () => scale(1.5), out: () => scale(1 / 1.5), fit, lasso: () => setLasso(!lasso.on), view: listView, copy, save, clear,
    all: () => { hidden = new Set(); refresh(); },
    none: () => { hidden = new Set(groups); refresh(); },
    help: () => $("keys").showModal(),
  };
  for (const [id, act] of Object.entries(press)) {
    $(id).disabled = ["copy", "save", "clear"].includes(id);
    $(id).addEventListener("click", act);
  }
  $("facet").disabled = false;
  tell("");
  recolour();
  $("map").dataset.ready = "yes";
}

begin();
