/** Memory and CPU of a session's browser over time. */

import { path } from "./api.js";
import { chart } from "./chart.js";
import { el, write } from "./dom.js";
import { card } from "./parts.js";
import { texts } from "./texts.js";
import { every } from "./time.js";

const told = texts.session;
const NEWS = 5;
const MB = 1_048_576;

export function usage(context, id) {
  const { signal } = context;
  const memory = chart(told.memory, [{ label: told.memory, color: "--chart-1" }], (value) => `${Math.round(value)} MB`, signal);
  const cpu = chart(told.cpu, [{ label: told.cpu, color: "--chart-2" }], (value) => `${Math.round(value)} %`, signal);
  const [held, busy] = [el("p.quiet.small"), el("p.quiet.small")];
  const look = async () => {
    const { samples } = await context.api.get(path`api/sessions/${id}/usage`, signal).catch(() => ({ samples: [] }));
    const last = samples.at(-1);
    for (const part of [memory, cpu]) part.node.hidden = samples.length < 2;
    write(held, last ? told.memoryNow(texts.bytes(last.memory)) : told.noUsage);
    write(busy, last ? told.cpuNow(Math.round(last.cpu * 100)) : told.noUsage);
    if (samples.length < 2) return;
    const at = samples.map((one) => Date.parse(one.at) / 1000);
    memory.set([at, samples.map((one) => one.memory / MB)]);
    cpu.set([at, samples.map((one) => one.cpu * 100)]);
  };
  for (const part of [memory, cpu]) part.node.hidden = true;
  every(NEWS, look, signal);
  return el("div.pair", {}, card(told.memory, held, memory.node), card(told.cpu, busy, cpu.node));
}
