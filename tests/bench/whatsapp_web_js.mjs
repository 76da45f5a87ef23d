/* Many clients of unmodified whatsapp-web.js in one process, for the benchmark.
 *
 * Arguments: one JSON object {executable, headless, args, folder, count}. All clients start at
 * once. Events come out as JSON lines {event, client, at, value}, `at` in ms of this process;
 * commands go in as JSON lines {id, call, client, args} and are answered {answer: id, value}. */
import readline from 'node:readline';
import whatsapp from 'whatsapp-web.js';

const { Client, LocalAuth } = whatsapp;
const { executable, headless, args, folder, count } = JSON.parse(process.argv[2]);

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const clients = Array.from({ length: count }, (_, number) => {
  const client = new Client({
    authStrategy: new LocalAuth({ clientId: `c${number}`, dataPath: folder + '/auth' }),
    webVersionCache: { type: 'local', path: folder + '/cache' },
    // A pipe, not a port: however this process ends, the browsers end with it.
    puppeteer: { executablePath: executable, headless, args, pipe: true },
  });
  const tell = (event) => (value) =>
    say({ event, client: number, at: performance.now(), value: typeof value === 'string' ? value : null });
  for (const name of ['qr', 'authenticated', 'ready', 'auth_failure']) client.on(name, tell(name));
  return { client, tell };
});

// Both libraries are timed to the same moment: the server's acknowledgement.
function send({ client }, to, body) {
  return new Promise((resolve, reject) => {
    const acked = new Set();
    let id = null;
    const began = performance.now();
    const end = () => {
      if (!id || !acked.has(id)) return;
      client.off('message_ack', hear);
      resolve(performance.now() - began);
    };
    const hear = (message, ack) => {
      if (ack >= 1) acked.add(message.id._serialized);
      end();
    };
    client.on('message_ack', hear);
    client.sendMessage(to, body).then((sent) => {
      id = sent.id._serialized;
      if (sent.ack >= 1) acked.add(id);
      end();
    }, reject);
  });
}

const calls = {
  send,
  destroy: ({ client }) => client.destroy().then(() => true),
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, call, client, args: values } = JSON.parse(line);
  try {
    say({ answer: id, value: (await calls[call](clients[client], ...values)) ?? null });
  } catch (error) {
    say({ answer: id, error: String((error && error.stack) || error) });
  }
}).on('close', () => process.exit(0));

for (const { client, tell } of clients) {
  tell('begun')(null);
  client.initialize().catch((error) => tell('failed')(String((error && error.stack) || error)));
}
