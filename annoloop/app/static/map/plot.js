// Points on a canvas: d3fc draws them (WebGL), d3 keeps what is in view.

const GROW = "uniform float uGrow;";
const SIZE = "vSize *= uGrow; gl_PointSize = vSize + 1.0;";
const FILLED = "float canFill = 1.0;"; // d3fc's diamond forgets to say so
const EDGE = "gl_FragColor.a *= 1.0 - smoothstep(vSize - 1.5, vSize, distance * vSize);";

const SLOW = 45, FAST = 25, REST = 180; // milliseconds: a frame that is too long, one with room, a pause
const ENOUGH = 4000; // rows of a layer that are always drawn

/** Shares of red, green, blue and alpha of #rrggbb. */
function rgba(hex, alpha) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).concat(alpha);
}

/** The symbol's shaders; a phone's medium precision would tear the map when it is zoomed. */
function symbol(shape) {
  const { vertex, fragment } = window.fc.webglSymbolMapper(window.d3[shape]);
  const build = vertex();
  const exact = Object.assign(() => build().replace("precision mediump", "precision highp"), build);
  return { vertex: () => exact, fragment };
}

export class Plot {
  /** `moved` is called after each change of what is in view. Throws where there is no WebGL. */
  constructor(canvas, { x, y }, moved) {
    this.canvas = canvas;
    this.points = { x, y };
    this.gl = canvas.getContext("webgl", { antialias: false });
    if (!this.gl?.getExtension("ANGLE_instanced_arrays")) throw new Error("no WebGL");
    this.layers = [];
    this.moved = moved;
    this.share = 1;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.layers.forEach(({ series }) => series.context(null).context(this.gl));
      this.draw();
    });
  }

  /** Layers from the lowest to the highest: rows, colour, alpha, shape, width in pixels. */
  show(layers) {
    this.layers.forEach(({ series }) => this.free(series));
    this.layers = layers.filter(({ rows }) => rows.length).map((layer) => ({ ...layer, series: this.series(layer) }));
    this.draw();
  }

  series({ rows, colour, alpha, shape, width }) {
    const { fc } = window;
    const column = (values) => fc.webglAttribute().value((row) => values[row]).data(rows);
    const same = (value) => fc.webglAttribute().type(fc.webglTypes.UNSIGNED_BYTE).value(() => value).data(rows);
    const fill = fc.webglFillColor(rgba(colour, alpha));
    return fc.webglSeriesPoint()
      .crossValueAttribute(column(this.points.x))
      .mainValueAttribute(column(this.points.y))
      .sizeAttribute(same(Math.PI * (width / 2) ** 2))
      .definedAttribute(same(1))
      .context(this.gl)
      .decorate((program) => {
        if (shape === "symbolDiamond") program.fragmentShader().appendHeaderIfNotExists(FILLED);
        fill(program);
        program.vertexShader().appendHeaderIfNotExists(GROW).appendBody(SIZE);
        program.fragmentShader().appendBody(EDGE);
        program.buffers().uniform("uGrow", fc.webglUniform(this.grow));
      });
  }

  /** Buffers that nothing draws any more are the garbage collector's. */
  free(series) {
    series.context(null);
  }

  /** Where x and y are on the screen, at a zoom (of d3) of a stage so wide and high. */
  place(zoom, wide, high) {
    const side = Math.min(wide, high) * 0.46;
    const across = window.d3.scaleLinear([-1, 1], [wide / 2 - side, wide / 2 + side]);
    const down = window.d3.scaleLinear([-1, 1], [high / 2 + side, high / 2 - side]);
    this.across = zoom.rescaleX(across);
    this.down = zoom.rescaleY(down);
    this.size = [wide, high];
    this.ratio = window.devicePixelRatio || 1;
    this.grow = this.ratio * Math.min(4, zoom.k ** 0.4);
    this.pace();
    this.draw();
  }

  /**
   * While the map moves and frames take too long (no GPU), a share of the points is drawn, and all
   * again at rest. Rows are sorted by id, a hash, so the first of them are a fair choice.
   */
  pace() {
    const now = performance.now(), took = now - (this.last ?? now);
    this.last = now;
    if (this.moving && took > SLOW) this.share = Math.max(0.1, this.share * 0.75);
    else if (this.moving && took < FAST) this.share = Math.min(1, this.share * 1.1);
    clearTimeout(this.moving);
    this.moving = setTimeout(() => {
      this.moving = 0;
      this.draw();
    }, REST);
  }

  /** Left, right, lower and upper end of what is in view. */
  view() {
    const [wide, high] = this.size;
    return [this.across.invert(0), this.across.invert(wide), this.down.invert(high), this.down.invert(0)];
  }

  draw() {
    if (this.waiting || !this.size) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
      this.moved();
    });
  }

  paint() {
    const { gl, canvas, ratio } = this;
    const [wide, high] = this.size.map((side) => Math.max(1, Math.round(side * ratio)));
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    const [left, right, low, upper] = this.view();
    const linear = (low_, high_) => window.fc.webglScaleLinear().domain([low_, high_]);
    gl.viewport(0, 0, wide, high);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    // The scales add to the shaders that they are given, so each frame begins with fresh ones.
    this.layers.forEach(({ series, shape, rows }) => {
      const count = this.moving ? Math.min(rows.length, Math.max(ENOUGH, Math.ceil(rows.length * this.share))) : rows.length;
      series.type(symbol(shape)).xScale(linear(left, right)).yScale(linear(low, upper))(count);
    });
  }
}
