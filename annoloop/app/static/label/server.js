// Talking to the server, and what this browser keeps until the server has it.

const TOKEN = document.querySelector('meta[name="token"]').content;

/** The server cannot be reached, or is busy: what was sent is not on its disk, and is sent again. */
export class Away extends Error {}

/** The server said no, and why. */
export class Refused extends Error {
  constructor(status, error) {
    super(`${error.problem}. ${error.fix}`);
    this.status = status;
    this.kind = error.type;
  }
}

export async function ask(path, body) {
  let response, said;
  try {
    response = await fetch(path, body === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Annoloop-Token": TOKEN },
      body: JSON.stringify(body),
    });
    said = await response.json();
  } catch {
    throw new Away("the server does not answer");
  }
  if (response.status === 503) throw new Away(said.error.problem);
  if (!response.ok) throw new Refused(response.status, said.error);
  return said;
}

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** One name a tab, so that the server can tell two tabs of one person apart. */
export function tabName() {
  let name = sessionStorage.getItem("annoloop:tab");
  if (!name) {
    name = crypto.getRandomValues(new Uint32Array(3)).join("-");
    sessionStorage.setItem("annoloop:tab", name);
  }
  return name;
}

/** Work of one person on one batch that the server does not have yet, kept over reloads. */
export class Kept {
  constructor(batch, who) {
    this.prefix = `annoloop:work:${batch}:${who}:`;
    this.at = `annoloop:at:${batch}:${who}`;
  }

  /** The image that this person had open last in this browser, 0 if none. */
  place() {
    return Number(localStorage.getItem(this.at) || 0);
  }

  arrive(number) {
    try {
      localStorage.setItem(this.at, number);
    } catch {
      // Without room the page opens at the next image that is wanted, as on a first visit.
    }
  }

  leave() {
    localStorage.removeItem(this.at);
  }

  get(number) {
    const text = localStorage.getItem(this.prefix + number);
    return text ? JSON.parse(text) : null;
  }

  /** False where the browser has no room or keeps nothing: then only the server's word counts. */
  put(number, work) {
    try {
      localStorage.setItem(this.prefix + number, JSON.stringify(work));
      return true;
    } catch {
      return false;
    }
  }

  drop(number) {
    localStorage.removeItem(this.prefix + number);
  }

  numbers() {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(this.prefix))
      .map((key) => Number(key.slice(this.prefix.length)))
      .sort((a, b) => a - b);
  }
}
