// The lists beside the image. Text is set as text: a class named <script> is a word.

import { CLASS, HIGH, SUGGESTED, WIDE, X, Y } from "./boxes.js";
import { colour } from "./view.js";

function item(pressed, kind, text, end, act) {
  const li = document.createElement("li"), button = document.createElement("button");
  const swatch = document.createElement("i"), name = document.createElement("span");
  button.type = "button";
  button.setAttribute("aria-pressed", String(pressed));
  swatch.className = "swatch";
  swatch.style.background = colour(kind);
  name.textContent = text;
  button.append(swatch, name);
  if (end) button.append(end);
  button.addEventListener("click", act);
  li.append(button);
  return li;
}

function small(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** A row's place and size in words; boxes of a model need not lie on whole pixels. */
export function spot(row, times = " × ") {
  const [x, y, wide, high] = [X, Y, WIDE, HIGH].map((at) => Math.round(row[at] * 10) / 10);
  return [`${x}, ${y}`, `${wide}${times}${high}`];
}

/** Classes whose name holds the words; those with a digit keep it while others are hidden. */
export function found(classes, words) {
  const wanted = words.trim().toLowerCase();
  return classes.map((one, id) => ({ ...one, id })).filter((one) => one.name.toLowerCase().includes(wanted));
}

export function showClasses(list, classes, words, chosen, choose) {
  list.replaceChildren(...found(classes, words).map(({ name, id }) =>
    item(id === chosen, id, name, id < 10 ? small("kbd", String((id + 1) % 10)) : null, () => choose(id))));
}

export function showBoxes(list, rows, classes, chosen, choose) {
  list.replaceChildren(...rows.map((row, index) => {
    const where = small("small", spot(row).join(" · "));
    const li = item(index === chosen, row[CLASS], classes[row[CLASS]].name + (row[SUGGESTED] ? " ?" : ""), where, () => choose(index));
    if (row[SUGGESTED]) li.className = "suggested";
    return li;
  }));
  list.children[chosen]?.scrollIntoView({ block: "nearest" });
}

export function showProblems(list, texts) {
  list.replaceChildren(...texts.map((text) => small("li", text)));
}
