// Steps started on the start page: send the form, follow the step, show the page anew when it ends.
import { ask, wait, Away } from "./label/server.js";

const $ = (id) => document.getElementById(id);
const AGAIN_MS = 400;

function show(job) {
  const panel = $("job");
  panel.hidden = false;
  panel.dataset.state = job.state;
  panel.dataset.number = job.number;
  $("job-command").textContent = job.command;
  $("job-state").textContent = job.state;
  $("job-state").className = "chip";
  $("job-far").hidden = $("job-stop").hidden = job.state !== "running";
  if (job.total) {
    $("job-bar").max = job.total;
    $("job-bar").value = job.done;
  } else $("job-bar").removeAttribute("value");
  const far = job.total ? `${job.what}: ${job.done.toLocaleString("en")} of ${job.total.toLocaleString("en")}` : "working";
  $("job-what").textContent = `${far} · ${Math.round(job.seconds)} s`;
  $("job-problem").hidden = $("job-text").hidden = true;
  $("job-said").replaceChildren(...job.said.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  for (const button of document.querySelectorAll("form.step button")) button.disabled = job.state === "running";
}

async function follow() {
  for (;;) {
    try {
      const job = await ask("/api/job");
      if (job) show(job);
      if (!job || job.state !== "running") break;
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      $("job-what").textContent = "the server does not answer; trying again";
    }
    await wait(AGAIN_MS);
  }
  // The page that the server writes knows what is next now.
  location.hash = "job";
  location.reload();
}

async function start(form) {
  const problem = form.querySelector(".problem");
  problem.hidden = true;
  const said = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  try {
    show(await ask(`/api/steps/${form.dataset.verb}`, { who: localStorage.getItem("annoloop:who") || "", form: said }));
  } catch (error) {
    problem.textContent = error.message.replaceAll("`", "");
    problem.hidden = false;
    return;
  }
  $("job").scrollIntoView({ block: "nearest" });
  await follow();
}

/** A step of a terminal, or of an app that was killed meanwhile. */
async function waitForOthers() {
  for (const button of document.querySelectorAll("form.step button")) button.disabled = true;
  let busy = true;
  while (busy) {
    await wait(5 * AGAIN_MS);
    busy = await ask("/api/busy").catch(() => true);
  }
  location.reload();
}

for (const form of document.querySelectorAll("form.step")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(form);
  });
}
$("job-stop").addEventListener("click", () => ask("/api/job/stop", {}).catch(() => {}));
if ($("job").dataset.state === "running") follow();
else if ($("elsewhere")) waitForOthers();
