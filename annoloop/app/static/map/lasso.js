// Choosing by drawing around points, or by what is in view: rows in, rows out.

const STEP = 4; // pixels between two corners of the line

/** Draws a line after the pointer and calls `done` with its corners, or with null for a click. */
export class Lasso {
  constructor(stage, shape, done) {
    this.on = false;
    this.corners = null;
    this.stage = stage;
    this.shape = shape;
    stage.addEventListener("pointerdown", (event) => {
      if (!this.wants(event) || this.corners) return;
      stage.setPointerCapture(event.pointerId);
      this.pointer = event.pointerId;
      this.corners = [this.spot(event)];
    });
    stage.addEventListener("pointermove", (event) => {
      if (!this.corners || event.pointerId !== this.pointer) return;
      const spot = this.spot(event), last = this.corners.at(-1);
      if (Math.hypot(spot[0] - last[0], spot[1] - last[1]) < STEP) return;
      this.corners.push(spot);
      this.shape.setAttribute("points", this.corners.join(" "));
    });
    stage.addEventListener("pointerup", (event) => {
      if (!this.corners || event.pointerId !== this.pointer) return;
      const corners = this.corners;
      this.stop();
      if (corners.length > 2) done(corners);
    });
    stage.addEventListener("pointercancel", () => this.stop());
  }

  /** A pointer that draws instead of moving the map: with the lasso on, or the shift key held. */
  wants(event) {
    return event.isPrimary !== false && !event.button && (this.on || event.shiftKey);
  }

  spot(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  stop() {
    this.corners = null;
    this.shape.setAttribute("points", "");
  }
}

/** Rows of the groups whose place on the screen lies within the corners. */
export function inside(plot, groups, corners) {
  const { polygonContains, extent } = window.d3;
  const [left, right] = extent(corners, ([x]) => x), [top, low] = extent(corners, ([, y]) => y);
  return rowsWhere(groups, (row) => {
    const x = plot.across(plot.points.x[row]), y = plot.down(plot.points.y[row]);
    return x >= left && x <= right && y >= top && y <= low && polygonContains(corners, [x, y]);
  });
}

/** Rows of the groups that are in view. */
export function inView(plot, groups) {
  const [left, right, low, upper] = plot.view();
  const { x, y } = plot.points;
  return rowsWhere(groups, (row) => x[row] >= left && x[row] <= right && y[row] >= low && y[row] <= upper);
}

function rowsWhere(groups, is) {
  return groups.flatMap(({ rows }) => [...rows.filter(is)]);
}

/** The row of the groups nearest to a spot on the screen, -1 if none is within `reach` pixels. */
export function nearest(plot, groups, [left, top], reach) {
  const { x, y } = plot.points;
  const at = plot.across.invert(left), down = plot.down.invert(top);
  const unit = plot.across.invert(left + reach) - at;
  let best = unit * unit, found = -1;
  for (const { rows } of groups) {
    for (const row of rows) {
      const far = (x[row] - at) ** 2 + (y[row] - down) ** 2;
      if (far < best) [best, found] = [far, row];
    }
  }
  return found;
}
