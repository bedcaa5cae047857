// Boxes as rows [class, x, y, width, height, flags, suggested] in pixels of the image; all pure.

export const CLASS = 0, X = 1, Y = 2, WIDE = 3, HIGH = 4, SUGGESTED = 6;

/** What was drawn, and the way back: each change is a new list of rows. */
export class History {
  constructor(rows) {
    this.past = [];
    this.now = rows;
    this.future = [];
  }

  set(rows) {
    this.past.push(this.now);
    this.now = rows;
    this.future = [];
  }

  undo() {
    if (!this.past.length) return false;
    this.future.push(this.now);
    this.now = this.past.pop();
    return true;
  }

  redo() {
    if (!this.future.length) return false;
    this.past.push(this.now);
    this.now = this.future.pop();
    return true;
  }
}

/** The box between two corners, on whole pixels inside the image; null if it has no area. */
export function between(a, b, size) {
  const left = within(Math.min(a.x, b.x), size.width), right = within(Math.max(a.x, b.x), size.width);
  const top = within(Math.min(a.y, b.y), size.height), bottom = within(Math.max(a.y, b.y), size.height);
  return right > left && bottom > top ? [left, top, right - left, bottom - top] : null;
}

function within(value, most) {
  return Math.min(Math.max(Math.round(value), 0), most);
}

/** A row moved by whole steps, kept inside the image; its size does not change. */
export function moved(row, dx, dy, size) {
  const next = [...row];
  next[X] = clamp(row[X] + dx, 0, size.width - row[WIDE]);
  next[Y] = clamp(row[Y] + dy, 0, size.height - row[HIGH]);
  return accepted(next);
}

/** A row whose right and lower edges move; at least one pixel remains. */
export function resized(row, dx, dy, size) {
  const next = [...row];
  next[WIDE] = clamp(row[WIDE] + dx, 1, size.width - row[X]);
  next[HIGH] = clamp(row[HIGH] + dy, 1, size.height - row[Y]);
  return accepted(next);
}

/** Whoever changes a suggested box has made it their own. */
export function accepted(row) {
  const next = [...row];
  next[SUGGESTED] = 0;
  return next;
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}

/** Rows cut to an image of another size; those that lie outside of it are left out. */
export function fitted(rows, size) {
  return rows.flatMap((row) => {
    const box = between({ x: row[X], y: row[Y] }, { x: row[X] + row[WIDE], y: row[Y] + row[HIGH] }, size);
    return box ? [[row[CLASS], ...box, row[5], 0]] : [];
  });
}

/** The boxes under a point, smallest first: a small box inside a large one can always be had. */
export function under(rows, point) {
  return rows
    .map((row, index) => ({ row, index }))
    .filter(({ row }) => point.x >= row[X] && point.x <= row[X] + row[WIDE] && point.y >= row[Y] && point.y <= row[Y] + row[HIGH])
    .sort((a, b) => a.row[WIDE] * a.row[HIGH] - b.row[WIDE] * b.row[HIGH])
    .map(({ index }) => index);
}

/** What breaks the rules of the schema, in words; the server checks the same again. */
export function problems(rows, classes) {
  const found = [], counts = new Map();
  rows.forEach((row, index) => {
    const kind = classes[row[CLASS]];
    counts.set(kind, (counts.get(kind) || 0) + 1);
    if (Math.min(row[WIDE], row[HIGH]) < kind.min_side) {
      found.push(`Box ${index + 1}: a ${kind.name} has a shorter side of at least ${kind.min_side} pixels.`);
    }
  });
  for (const [kind, count] of counts) {
    if (kind.most !== null && count > kind.most) found.push(`${count} boxes of ${kind.name}: an image has at most ${kind.most}.`);
  }
  return found;
}
