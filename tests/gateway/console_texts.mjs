// Prints every text that a module of the console asks for and `texts.js` does not have.

import { readdirSync, readFileSync } from "node:fs";

const page = new URL(process.argv[2]);
const { texts } = await import(new URL("texts.js", page));

for (const file of readdirSync(page).filter((name) => name.endsWith(".js") && name !== "texts.js")) {
  const source = readFileSync(new URL(file, page), "utf8");
  const short = source.match(/const told = (texts\.\w+);/)?.[1];
  const asked = source.match(/\b(?:texts|told)(?:\.\w+)+/g) ?? [];
  for (const name of new Set(asked)) {
    const names = name.replace(/^told/, short ?? "told").split(".").slice(1);
    let held = texts;
    for (const part of names) {
      // What follows a text itself is JavaScript's own: `told.steps.map`.
      if (typeof held === "string" || typeof held === "function" || Array.isArray(held)) break;
      held = held?.[part];
    }
    if (held === undefined && name !== "texts.js") console.log(`${file}: ${name}`);
  }
}
