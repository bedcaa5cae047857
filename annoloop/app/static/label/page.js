// The label page: one image after another, from the queue to an answer.

import { accepted, between, CLASS, fitted, moved, problems, resized, SUGGESTED } from "./boxes.js";
import { listen, step } from "./keys.js";
import { found, showBoxes, showClasses, showProblems, spot } from "./lists.js";
import { ask, Away, Kept, Refused, tabName, wait } from "./server.js";
import { View } from "./view.js";
import { Work } from "./work.js";

const $ = (id) => document.getElementById(id);
const desk = { batch: $("desk").dataset.batch, tab: tabName(), who: "", kept: null, leaseMs: 1e9 };
desk.page = `/label/${encodeURIComponent(desk.batch)}`;
desk.api = `/api${desk.page}`;

let setup = null, work = null, view = null, size = null, chosen = -1, kind = 0, busy = false;
const ahead = new Map(); // number → image that is loading or loaded

// --- saying -----------------------------------------------------------------------------------

function say(how, text) {
  if (how === "refused") {
    tell(text);
    $("saved").textContent = "Not saved";
    return;
  }
  $("saved").textContent = text;
  $("saved").classList.toggle("away", how === "away");
  $("desk").dataset.saved = how;
}

function tell(text) {
  $("message").hidden = !text;
  $("message").textContent = text || "";
}

function dialog(id) {
  return new Promise((done) => {
    const box = $(id);
    box.returnValue = "";
    box.addEventListener("close", () => done(box.returnValue), { once: true });
    box.showModal();
  });
}

document.querySelectorAll("[data-leaves]").forEach((one) => one.addEventListener("click", () => one.closest("dialog").close()));

/** Ask until the server is there; what it refuses is the caller's. */
async function insist(path, body) {
  for (;;) {
    try {
      return await ask(path, body);
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      say("away", `Waiting: ${error.message}.`);
      await wait(1500);
    }
  }
}

// --- drawing ----------------------------------------------------------------------------------

function refresh() {
  const rows = work ? work.rows : [];
  if (chosen >= rows.length) chosen = -1;
  view.draw(rows, chosen, setup.classes.map((one) => one.name));
  showBoxes($("boxes"), rows, setup.classes, chosen, select);
  showClasses($("classes"), setup.classes, $("search").value, rows[chosen] ? rows[chosen][CLASS] : kind, setClass);
  showProblems($("problems"), problems(rows, setup.classes));
  $("count").textContent = String(rows.length);
  const suggested = rows.filter((row) => row[SUGGESTED]).length;
  $("accept").hidden = !suggested;
  $("accept").textContent = `Accept all ${suggested}`;
  $("undo").disabled = !work?.history.past.length;
  $("redo").disabled = !work?.history.future.length;
  $("copy").disabled = !before();
  const row = rows[chosen];
  $("selected").textContent = row
    ? `Box ${chosen + 1} of ${rows.length}: ${setup.classes[row[CLASS]].name}, ${spot(row, " by ").join(", ")} pixels`
    : `${rows.length === 1 ? "1 box" : `${rows.length} boxes`}, none selected`;
}

function select(index) {
  chosen = index;
  refresh();
}

function change(rows) {
  if (!work || busy) return;
  tell("");
  work.act();
  work.history.set(rows);
  work.changed();
  refresh();
}

function changeRow(index, row) {
  change(work.rows.map((old, at) => (at === index ? row : old)));
}

function add(box) {
  if (!work || busy) return;
  chosen = work.rows.length;
  change([...work.rows, [kind, ...box, 0, 0]]);
}

function remove() {
  if (!work?.rows[chosen]) return;
  const rows = work.rows.filter((_, at) => at !== chosen);
  chosen = Math.min(chosen, rows.length - 1);
  change(rows);
}

function setClass(id) {
  if (!setup.classes[id]) return;
  kind = id;
  if (work?.rows[chosen]) {
    const row = accepted(work.rows[chosen]);
    row[CLASS] = id;
    changeRow(chosen, row);
  } else {
    refresh();
  }
}

function rewind(which) {
  if (busy || !work?.history[which]()) return;
  work.changed();
  refresh();
}

function before() {
  const text = sessionStorage.getItem(`annoloop:before:${desk.batch}`);
  return text ? JSON.parse(text) : null;
}

function copy() {
  const rows = before();
  if (rows && work) change([...work.rows, ...fitted(rows, size)]);
}

function newBox() {
  if (!size) return;
  const at = view.middle(), wide = Math.max(4, size.width / 8), high = Math.max(4, size.height / 8);
  const box = between({ x: at.x - wide, y: at.y - high }, { x: at.x + wide, y: at.y + high }, size);
  if (box) add(box);
}

// --- from image to image ----------------------------------------------------------------------

function load(number) {
  let image = ahead.get(number);
  if (!image) {
    image = new Image();
    image.src = `${desk.page}/image/${number}`;
    ahead.set(number, image);
  }
  return image;
}

/** Open an image; one that cannot be had is told, or gives way to what `orElse` wishes. */
async function open(wish, orElse) {
  busy = true;
  tell("");
  let task;
  try {
    task = await insist(`${desk.api}/claim`, { who: desk.who, ...wish });
  } catch (error) {
    busy = false;
    if (orElse) return open(orElse);
    tell(error.message);
    if (!work) await finish();
    return;
  }
  if (!task) {
    await finish();
    return;
  }
  $("desk").hidden = false;
  $("finished").hidden = true;
  work = null;
  view.blank();
  const image = load(task.number);
  for (const one of ahead.keys()) if (one !== task.number && !task.upcoming.includes(one)) ahead.delete(one);
  try {
    await image.decode();
  } catch {
    ahead.delete(task.number);
    tell(`Image ${task.number} cannot be shown. Answer “unusable” and say so, or go on with the next one.`);
  }
  task.upcoming.forEach(load);
  begin(task, image);
}

/** Where this person was in this browser, else at the first image that needs them. */
async function resume() {
  const number = desk.kept.place();
  await (number ? open({ number }, {}) : open({}));
}

function begin(task, image) {
  desk.kept.arrive(task.number);
  size = { width: task.width, height: task.height };
  work = new Work(desk, task, say);
  chosen = -1;
  const kept = desk.kept.get(task.number);
  if (kept && (kept.tab === desk.tab || kept.revision >= task.revision)) {
    work.history.set(kept.boxes);
    work.seconds = Math.max(work.seconds, kept.seconds);
  } else {
    desk.kept.drop(task.number);
  }
  const { total, answered } = task.standing;
  $("place").textContent = `Image ${task.number} of ${total}`;
  $("done").value = answered;
  $("done").title = `${answered} of ${total} images have an answer`;
  $("given").textContent = task.answer ? `given: ${task.answer}` : "";
  $("stage").setAttribute("aria-label", `Image ${task.number} of ${total} and its boxes`);
  $("desk").dataset.number = task.number;
  if (!$("saved").classList.contains("away")) say("idle", $("saved").textContent);
  view.show(image.naturalWidth ? image : undefined, size);
  busy = false;
  if (kept && work.history.past.length) {
    work.changed();
    tell("What this browser had kept of this image is back.");
  }
  refresh();
  $("stage").focus({ preventScroll: true });
}

/** Another image without an answer: what is drawn stays as a draft. */
async function go(by) {
  if (busy || !work) return;
  busy = true;
  const settled = await work.settle();
  busy = false;
  if (!settled) return;
  remember();
  const number = work.task.number + by;
  if (number >= 1 && number <= setup.total) await open({ number });
}

function remember() {
  if (work.rows.length) sessionStorage.setItem(`annoloop:before:${desk.batch}`, JSON.stringify(work.rows.map(accepted)));
}

async function answer(said) {
  if (busy || !work) return;
  const rows = work.rows;
  const open_ = rows.filter((row) => row[SUGGESTED]).length;
  if (said === "complete" && !rows.length) return tell("No box is drawn: draw one, or answer “empty” (E).");
  if (said === "complete" && open_) return tell(`${open_} of the model's boxes are neither accepted nor deleted: A accepts one, Shift+A all.`);
  if (said === "complete" && problems(rows, setup.classes).length) return tell("A rule is broken (see the list of boxes): correct it, or answer “unsure”.");
  if (said === "empty" && rows.some((row) => !row[SUGGESTED])) return tell("Boxes are drawn: delete them, or answer “complete”.");
  if (said === "empty" && open_) {
    if (!work.dropping) {
      work.dropping = true;
      return tell(`${open_} of the model's boxes would be dropped: E again says that nothing is to be labelled here.`);
    }
    work.history.set([]);
  }
  if (said === "unsure" || said === "unusable") {
    $("why").required = said === "unusable";
    $("why").value = work.why || "";
    $("ask-why-title").textContent = said === "unusable" ? "Why is it unusable?" : "What is unclear?";
    if ((await dialog("ask-why")) !== "yes") return undefined;
    work.why = $("why").value;
  } else {
    work.why = null;
  }
  busy = true;
  remember();
  const saved = await work.answer(said);
  busy = false;
  if (!saved) return refresh();
  return open({ after: work.task.number });
}

async function finish() {
  busy = true;
  const { standing, drafts } = await insist(`${desk.api}/queue`, { who: desk.who });
  work = null;
  busy = false;
  desk.kept.leave();
  $("desk").hidden = true;
  $("finished").hidden = false;
  const open_ = standing.total - standing.answered;
  $("finished-text").textContent = `${standing.answered} of ${standing.total} images have an answer, ${standing.mine} of them yours.`
    + (open_ ? ` ${open_} are with other people, or wait.` : "") + (drafts ? ` ${drafts} have boxes without an answer.` : "");
  $("finished-title").focus();
}

async function close() {
  if (work && !(await work.settle())) return;
  const { standing, drafts } = await insist(`${desk.api}/queue`, { who: desk.who });
  const open_ = standing.total - standing.answered;
  $("ask-close-text").textContent = `${standing.answered} of ${standing.total} images have an answer.`
    + (open_ ? ` The other ${open_} go back as pending and are offered first in the next batch.` : "")
    + (drafts ? ` ${drafts} have boxes without an answer: those boxes will not count.` : "")
    + " A closed batch takes no more answers.";
  if ((await dialog("ask-close")) !== "yes") return;
  try {
    const made = await insist(`${desk.api}/close`, { who: desk.who });
    $("desk").hidden = true;
    $("finished").hidden = false;
    $("finished-title").textContent = `Batch ${desk.batch} is closed`;
    $("finished-text").textContent = `${made.annotated} images annotated (${made.empty} of them empty), ${made.boxes} boxes, ${made.pending} pending, ${made.skipped} skipped. ${made.notes.join(" ")}`;
    $("again").hidden = $("close-now").hidden = true;
    $("go-on").hidden = false;
    work = null;
    $("finished-title").focus();
  } catch (error) {
    tell(error.message);
  }
}

// --- starting ---------------------------------------------------------------------------------

async function askName() {
  $("name").value = desk.who;
  do await dialog("ask-name"); while (!$("name").value.trim());
  localStorage.setItem("annoloop:who", $("name").value.trim());
  named();
}

function named() {
  desk.who = localStorage.getItem("annoloop:who") || "";
  desk.kept = new Kept(desk.batch, desk.who);
  $("who").textContent = desk.who ? `Labelling: ${desk.who}` : "Who labels?";
}

/** Answers that never reached the server: first of all they go there. */
async function deliver() {
  for (const number of desk.kept.numbers()) {
    const { answer: said, ...body } = desk.kept.get(number);
    if (!said) continue;
    try {
      await insist(`${desk.api}/${number}/answer`, { ...body, answer: said });
      desk.kept.drop(number);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      desk.kept.put(number, { ...body, answer: null }); // its boxes come back with the image
      tell(`Image ${number}: ${error.message}`);
    }
  }
}

function moveOrPan(event, change_) {
  const [dx, dy] = step(event);
  if (work?.rows[chosen]) changeRow(chosen, change_(work.rows[chosen], dx, dy, size));
  else view.pan(-dx * 20, -dy * 20);
}

function setHand(on) {
  view.hand = on;
  $("hand").setAttribute("aria-pressed", String(on));
  $("stage").classList.toggle("hand", on);
  refresh();
}

const acts = {
  class: (event) => setClass((Number(event.key) + 9) % 10),
  search: () => $("search").focus(),
  new: newBox,
  after: () => work && select(work.rows.length ? (chosen + 1) % work.rows.length : -1),
  before: () => work && select(work.rows.length ? (Math.max(chosen, 0) + work.rows.length - 1) % work.rows.length : -1),
  none: () => select(-1),
  delete: remove,
  accept: () => work?.rows[chosen]?.[SUGGESTED] && changeRow(chosen, accepted(work.rows[chosen])),
  "accept-all": () => work?.rows.some((row) => row[SUGGESTED]) && change(work.rows.map(accepted)),
  copy,
  in: () => view.zoom(1.25),
  out: () => view.zoom(0.8),
  fit: () => view.fit(),
  hand: () => setHand(!view.hand),
  hold: () => view.hand || setHand(true),
  release: () => view?.hand && setHand(false),
  move: (event) => moveOrPan(event, moved),
  resize: (event) => moveOrPan(event, resized),
  undo: () => rewind("undo"),
  redo: () => rewind("redo"),
  complete: () => answer("complete"),
  empty: () => answer("empty"),
  unsure: () => answer("unsure"),
  unusable: () => answer("unusable"),
  back: () => go(-1),
  on: () => go(1),
  help: () => dialog("keys"),
};

function wire() {
  for (const name of ["undo", "redo", "in", "out", "fit", "hand", "new", "copy", "complete", "empty", "unsure", "unusable", "back", "on", "help"]) {
    $(name).addEventListener("click", () => acts[name]());
  }
  $("accept").addEventListener("click", acts["accept-all"]);
  $("who").addEventListener("click", async () => {
    if (work && !(await work.settle())) return;
    await askName();
    await resume();
  });
  for (const id of ["close", "close-now"]) $(id)?.addEventListener("click", close);
  $("again").addEventListener("click", () => open({ number: 1 }));
  $("search").addEventListener("input", refresh);
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      const [first] = found(setup.classes, $("search").value);
      if (first) setClass(first.id);
    }
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    $("search").value = "";
    refresh();
    $("stage").focus();
  });
  listen((name, event) => acts[name]?.(event));
  for (const event of ["pointerdown", "pointermove", "keydown", "wheel"]) {
    document.addEventListener(event, () => !document.hidden && work?.act(), { passive: true });
  }
  window.addEventListener("beforeunload", (event) => {
    if (work && work.savedChanges < work.changes && work.safe === false) event.preventDefault();
  });
}

async function start() {
  setup = await insist(`${desk.api}/setup`);
  desk.leaseMs = setup.lease_seconds * 1000;
  view = new View($("stage"), {
    drawn: add,
    changed: (index, box) => changeRow(index, [work.rows[index][CLASS], ...box, work.rows[index][5], 0]),
    selected: select,
    zoomed: () => {},
  });
  wire();
  named();
  if (!setup.open) {
    tell(`Batch ${desk.batch} is closed.`);
    return;
  }
  if (!desk.who) await askName();
  await deliver();
  await resume();
  $("desk").dataset.ready = "yes";
}

start().catch((error) => tell(error.message));
