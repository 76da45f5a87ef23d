/* The main job as a program of a customer would do it, with unmodified axios and
 * socket.io-client. Arguments: one JSON object {url, key, transports, friend}. It prints
 * {scan: code} and waits for a phone, then {send: text} and waits for an answer of the
 * friend; at the end {heard, answers}. Any surprise is an exception. */
import axios from 'axios';
import { io } from 'socket.io-client';

const { url, key, transports, friend } = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const http = axios.create({ baseURL: url, headers: { 'x-api-key': key }, timeout: 40_000 });

const heard = [];
const waiting = [];
const socket = io(url, { auth: { token: key }, transports });
socket.onAny((event, payload) => {
  heard.push({ event, payload });
  for (const look of [...waiting]) look();
});
const until = (event, wanted = () => true) =>
  new Promise((resolve) => {
    const look = () => {
      const found = heard.find((told) => told.event === event && wanted(told.payload));
      if (!found) return;
      waiting.splice(waiting.indexOf(look), 1);
      resolve(found.payload);
    };
    waiting.push(look);
    look();
  });

await new Promise((resolve, reject) => {
  socket.on('connect', resolve);
  socket.on('connect_error', reject);
});
socket.emit('join-room', 'qr-ann:bot');

const answers = {};
answers.created = (await http.post('/api/sessions/create', { userId: 'ann', plubotId: 'bot' })).data;
const byEvent = await until('qr-update');
answers.qr = (await http.get('/api/qr/ann/bot')).data;
say({ scan: answers.qr.qr, same: byEvent.qr });

await until('session-authenticated');
await until('session-ready', (told) => told.phoneNumber);
answers.status = (await http.get('/api/sessions/ann-bot/status')).data;

const message = { sessionId: 'ann-bot', to: friend, message: 'hello from node' };
answers.sent = (await http.post('/api/messages/send', message)).data;
await until('message-ack', (told) => told.messageId === answers.sent.messageId);
say({ send: 'hello to node' });
await until('message-received', (told) => told.message.body === 'hello to node');
answers.history = (await http.get('/api/messages/ann-bot/history?limit=5')).data;

answers.disconnected = (await http.post('/api/sessions/ann-bot/disconnect', {})).data;
await until('session-disconnected', (told) => told.status === 'stopped');
await until('disconnected', (told) => told.status === 'stopped');
socket.disconnect();
say({ heard, answers });
// By polling, the last request is answered only some seconds later; nobody waits for it.
process.exit();
