// A person at a browser, told what to do line by line: one JSON call in, one JSON answer out.
// Everything is found as a person finds it: by its role and its name.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [executablePath] = process.argv.slice(2);
const axe = readFileSync(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const PATIENCE = 15_000;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
let context;
let page;
let complaints = [];
let strangers = [];
let bytes = 0;
let weighings = [];

const named = ({ role, name, exact = true, within }) => {
  const place = within ? page.getByRole(within.role, within.name ? { name: within.name } : {}) : page;
  return place.getByRole(role, { name, exact }).first();
};

const verbs = {
  async sit({ url, width = 1280, height = 860, theme = "light", touch = false }) {
    await context?.close();
    complaints = [];
    strangers = [];
    bytes = 0;
    weighings = [];
    context = await browser.newContext({
      viewport: { width, height },
      colorScheme: theme,
      hasTouch: touch,
      locale: "en-GB",
      reducedMotion: "reduce",
      permissions: ["clipboard-read", "clipboard-write"],
    });
    context.setDefaultTimeout(PATIENCE);
    page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (line) => {
      // A refusal is the service's answer, which the page shows; the browser notes it as well.
      if (line.type() === "error" && !/Failed to load resource|WebSocket connection/.test(line.text())) complaints.push(line.text());
    });
    page.on("request", (request) => {
      const asked = new URL(request.url());
      if (!["data:", "blob:"].includes(asked.protocol) && asked.host !== new URL(url).host) strangers.push(request.url());
    });
    page.on("response", async (response) => {
      const sizes = await response.request().sizes().catch(() => null);
      if (sizes && !new URL(response.url()).pathname.startsWith("/api")) bytes += sizes.responseBodySize;
    });
    await page.addInitScript(() => {
      globalThis.longTasks = [];
      new PerformanceObserver((seen) => longTasks.push(...seen.getEntries().map((one) => [one.startTime, one.duration, location.hash]))).observe({ type: "longtask", buffered: true });
    });
    await page.goto(url);
  },
  // Bytes that scripts hold when what nobody holds is gone.
  async weigh() {
    const began = await page.evaluate(() => performance.now());
    const wire = await context.newCDPSession(page);
    await wire.send("HeapProfiler.enable");
    await wire.send("HeapProfiler.collectGarbage");
    const { usedSize } = await wire.send("Runtime.getHeapUsage");
    await wire.detach();
    // To weigh takes the page a while as well, which is no fault of its own.
    weighings.push([began, await page.evaluate(() => performance.now())]);
    return usedSize;
  },
  // Where the page was deaf, and for how many milliseconds.
  tasks: async () =>
    (await page.evaluate(() => globalThis.longTasks))
      .filter(([start, took]) => !weighings.some(([from, until]) => start < until && start + took > from))
      .map(([, took, place]) => [place, Math.round(took)]),
  go: ({ url }) => page.goto(url),
  reload: () => page.reload(),
  click: (what) => named(what).click(),
  fill: async ({ label, text }) => page.getByLabel(label, { exact: true }).first().fill(text),
  choose: async ({ label, value }) => void (await page.getByLabel(label, { exact: true }).first().selectOption(value)),
  attach: async ({ label, files }) => page.getByLabel(label, { exact: true }).first().setInputFiles(files.map((file) => ({ name: file.name, mimeType: file.type, buffer: Buffer.from(file.content, "base64") }))),
  sees: ({ text, exact = false, timeout = PATIENCE }) => page.getByText(text, { exact }).filter({ visible: true }).first().waitFor({ timeout }),
  finds: (what) => named(what).waitFor({ timeout: what.timeout ?? PATIENCE }),
  gone: ({ text }) => page.waitForFunction((said) => !document.body.innerText.includes(said), text),
  read: ({ selector }) => page.locator(selector).first().innerText(),
  count: ({ selector }) => page.locator(selector).count(),
  value: ({ code, given }) => page.evaluate(`(${code})(${JSON.stringify(given ?? null)})`),
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  // Walk with Tab until what is focused has this name; says what it met when it never does.
  async tab({ name, exact = true, limit = 80, back = false }) {
    const met = [];
    for (let step = 0; step < limit; step += 1) {
      await page.keyboard.press(back ? "Shift+Tab" : "Tab");
      const focused = await page.evaluate(() => {
        const at = document.activeElement;
        const label = at?.getAttribute("aria-label") ?? at?.labels?.[0]?.firstElementChild?.textContent ?? at?.labels?.[0]?.textContent;
        return (label ?? at?.textContent ?? "").trim();
      });
      met.push(focused.slice(0, 40));
      if (exact ? focused === name : focused.includes(name)) return step;
    }
    throw new Error(`Tab never reached ${name}; it met ${met.join(" | ")}`);
  },
  async offline({ on }) {
    await context.setOffline(on);
  },
  // Rules of the browser's own policy hold for what it is asked to look at, so axe is lent to it.
  async axe() {
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 4).join(", ")} ${one.nodes[0].any[0]?.message ?? ""}`);
  },
  overflow: () =>
    page.evaluate(() => {
      const width = document.documentElement.clientWidth;
      const wide = [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > width + 1 && node.getClientRects().length && !node.closest(".plot, pre, code, .clip, .aside, .skip"));
      return document.documentElement.scrollWidth > width ? wide.slice(0, 5).map((node) => `${node.tagName}.${node.className}`) : [];
    }),
  async shot({ path, full = false, selector }) {
    if (selector) await page.locator(selector).first().screenshot({ path });
    else await page.screenshot({ path, fullPage: full });
  },
  trouble: () => ({ complaints, strangers, bytes }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { verb, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { done: (await verbs[verb](given)) ?? null };
  } catch (error) {
    const shown = page ? await page.evaluate(() => document.body.innerText).catch(() => "") : "";
    answer = { failed: `${verb} ${JSON.stringify(given)}: ${error.message}\n--- the page says:\n${shown.slice(0, 2500)}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
