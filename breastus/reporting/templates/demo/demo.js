// Sends each chosen image to the server and shows the answer. File names stay in the browser.
"use strict";

const AT_ONCE = 3; // uploads; the server predicts one image at a time
const TRIES = 5;

const maxBytes = Number(document.body.dataset.maxBytes);
const drop = document.getElementById("drop");
const files = document.getElementById("files");
const results = document.getElementById("results");
const cards = document.getElementById("cards");
const summary = document.getElementById("summary");
const waiting = [];
let sending = 0;

// Shows a card for each image above the earlier ones. An image has a name, and `load` gives its file.
function add(images) {
  const added = images.map(({ name, load }) => {
    const card = document.getElementById("card").content.firstElementChild.cloneNode(true);
    card.querySelector("h3").textContent = name;
    return { name, load, card };
  });
  if (!added.length) return;
  cards.prepend(...added.map(({ card }) => card));
  waiting.push(...added);
  results.hidden = false;
  results.scrollIntoView();
  count();
  next();
}

function addFiles(list) {
  add([...list].map((file) => ({ name: file.name, load: async () => file })));
}

function next() {
  while (sending < AT_ONCE && waiting.length) {
    sending += 1;
    answer(waiting.shift()).finally(() => {
      sending -= 1;
      next();
    });
  }
}

async function answer({ name, load, card }) {
  try {
    const found = await predict(await load());
    card.innerHTML = found.html; // made by the server, which escapes every value
    card.querySelector("h3").textContent = name;
    card.dataset.label = found.label;
    card.dataset.referred = String(Boolean(found.referred));
  } catch (error) {
    card.classList.add("failed");
    card.querySelector(".state").textContent = error.message;
  }
  count();
}

async function predict(file) {
  if (file.size > maxBytes) {
    const limit = maxBytes >> 20;
    throw new Error(`The file is too large: ${file.size >> 20} MiB, where ${limit} MiB are allowed.`);
  }
  for (let tried = 1; ; tried += 1) {
    const answered = await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: file,
    }).catch(() => {
      throw new Error("The server does not answer, or the file cannot be read.");
    });
    const found = await answered.json();
    if (answered.ok) return found;
    const later = Number(answered.headers.get("Retry-After"));
    if (!later || tried === TRIES) throw new Error(found.detail);
    await new Promise((resume) => setTimeout(resume, 1000 * later));
  }
}

function count() {
  const number = (selector) => cards.querySelectorAll(selector).length;
  const all = cards.childElementCount;
  const text = [
    `${all} ${all === 1 ? "image" : "images"}`,
    `${number("[data-label=lump]")} predicted as lump`,
    `${number("[data-label=no_lump]")} as no lump`,
    `${number("[data-referred=true]")} to refer to a reader`,
  ];
  if (number(".failed")) text.push(`${number(".failed")} not predicted`);
  const open = all - number("[data-label]") - number(".failed");
  if (open) text.push(`${open} waiting`);
  summary.textContent = `${text.join(", ")}.`;
}

files.addEventListener("change", () => {
  addFiles(files.files);
  files.value = ""; // so that the same file can be chosen again
});
// Anywhere on the page: a file that misses the field would replace the page.
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  addFiles(event.dataTransfer.files);
});
for (const button of document.querySelectorAll("[data-example]")) {
  const load = async () => (await fetch(button.dataset.example)).blob();
  button.addEventListener("click", () => add([{ name: button.dataset.name, load }]));
}
document.getElementById("clear").addEventListener("click", () => {
  waiting.length = 0;
  cards.replaceChildren();
  results.hidden = true;
});
