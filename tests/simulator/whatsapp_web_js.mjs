/* Drives unmodified whatsapp-web.js for a Python test.
 *
 * Arguments: one JSON object {executable, args, folder}. Events come out as JSON lines
 * {event, value}; commands go in as JSON lines {id, call, args} and are answered by
 * {answer: id, value} or {answer: id, error}. */
import readline from 'node:readline';
import whatsapp from 'whatsapp-web.js';

const { Client, LocalAuth } = whatsapp;
const { executable, args, folder } = JSON.parse(process.argv[2]);

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const brief = ({ id, body, from, to, ack, author }) => ({ id: id._serialized, body, from, to, ack, author });
const briefChat = ({ id, name, unreadCount, isGroup }) => ({ id: id._serialized, name, unreadCount, isGroup });

const client = new Client({
  authStrategy: new LocalAuth({ dataPath: folder + '/auth' }),
  webVersionCache: { type: 'local', path: folder + '/cache' },
  // A pipe, not a port: however this process ends, the browser ends with it.
  puppeteer: { executablePath: executable, headless: 'shell', args, pipe: true },
});

client.on('qr', (qr) => say({ event: 'qr', value: qr }));
client.on('code', (code) => say({ event: 'code', value: code }));
for (const name of ['authenticated', 'ready', 'auth_failure', 'disconnected', 'change_state']) {
  client.on(name, (value) => say({ event: name, value: value ?? null }));
}
client.on('loading_screen', (percent) => say({ event: 'loading_screen', value: percent }));
client.on('message', (message) => say({ event: 'message', value: brief(message) }));
client.on('message_create', (message) => say({ event: 'message_create', value: brief(message) }));
client.on('message_ack', (message, ack) => say({ event: 'message_ack', value: { id: message.id._serialized, ack } }));

const calls = {
  info: () => ({ wid: client.info.wid._serialized, pushname: client.info.pushname }),
  state: () => client.getState(),
  send: (to, body) => client.sendMessage(to, body).then(brief),
  chats: () => client.getChats().then((chats) => chats.map(briefChat)),
  history: (chat, limit) => client.getChatById(chat)
    .then((found) => found.fetchMessages({ limit }))
    .then((found) => found.map(brief)),
  isRegistered: (number) => client.isRegisteredUser(number),
  typing: (chat) => client.getChatById(chat).then((found) => found.sendStateTyping()),
  seen: (chat) => client.sendSeen(chat),
  pair: (number) => client.requestPairingCode(number),
  logout: () => client.logout().then(() => true),
  destroy: () => client.destroy().then(() => true),
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, call, args: values } = JSON.parse(line);
  try {
    say({ answer: id, value: (await calls[call](...values)) ?? null });
  } catch (error) {
    say({ answer: id, error: String((error && error.stack) || error) });
  }
}).on('close', () => process.exit(0));

client.initialize().then(
  async () => {
    client.pupPage.on('console', (message) => {
      if (message.type() === 'error') say({ event: 'console', value: message.text() });
    });
    client.pupPage.on('pageerror', (error) => say({ event: 'console', value: String(error) }));
    say({ event: 'initialized', value: null });
  },
  (error) => { say({ event: 'failed', value: String((error && error.stack) || error) }); process.exit(1); },
);
