/* Drives unmodified socket.io-client for a Python test.
 *
 * Arguments: one JSON object {url, options, asks: [[event, ...arguments]]}; the asks are
 * emitted on every connect, as clients do. What is heard comes out as JSON lines
 * {event, value}. */
import { io } from 'socket.io-client';

const { url, options, asks } = JSON.parse(process.argv[2]);
const say = (event, value = null) => process.stdout.write(JSON.stringify({ event, value }) + '\n');

const socket = io(url, { reconnectionDelay: 10, reconnectionDelayMax: 50, ...options });
socket.on('connect', () => {
  say('connect', socket.io.engine.transport.name);
  socket.io.engine.on('upgrade', (transport) => say('upgrade', transport.name));
  for (const ask of asks) socket.emit(...ask);
});
socket.on('connect_error', (error) => say('connect_error', { message: error.message, data: error.data }));
socket.on('disconnect', (reason) => say('disconnect', reason));
socket.onAny(say);
