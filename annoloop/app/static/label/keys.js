// The keyboard: every act of the page. Keys are left alone while somebody writes in a field.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listen(act) {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.isComposing) return;
    const target = event.target;
    if (target.matches("input, textarea, select")) return;
    // A focused button has Enter and the space bar for itself.
    if (target.matches("button, a") && (event.key === "Enter" || event.key === " ")) return;
    const name = nameOf(event);
    if (!name) return;
    event.preventDefault();
    act(name, event);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") act("release", event);
  });
}

function nameOf(event) {
  const { key } = event, lower = key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (event.altKey) return null;
    if (lower === "z") return event.shiftKey ? "redo" : "undo";
    return lower === "y" ? "redo" : null;
  }
  if (key in ARROWS) return event.altKey ? "resize" : "move";
  if (event.altKey) return null;
  if (/^[0-9]$/.test(key)) return "class";
  const plain = {
    "/": "search", n: "new", j: "after", k: "before", escape: "none", delete: "delete", backspace: "delete", x: "delete",
    a: event.shiftKey ? "accept-all" : "accept", v: "copy", "+": "in", "=": "in", "-": "out", f: "fit", h: "hand", " ": "hold",
    enter: "complete", e: "empty", u: "unsure", b: "unusable", ",": "back", ".": "on", "?": "help",
  };
  return plain[lower] || null;
}

export function step(event) {
  const [x, y] = ARROWS[event.key], far = event.shiftKey ? 10 : 1;
  return [x * far, y * far];
}
