// Node's ws as a peer. "serve": echoes until standard input ends, prints its port. "echo URL COMPRESS": sends messages of many
// kinds to an echo and checks what comes back. "room URL N": N connections, of which each hears what one says.
'use strict';
const WebSocket = require('ws');
const [mode, url, argument] = process.argv.slice(2);

function fail(why) {
  console.error(why);
  process.exit(1);
}
const words = (n) => Array.from({length: n}, (_, i) => `word ${i * 7919 % 1000}`).join(' ');
const messages = ['', 'a', 'Grüße, мир, 世界 🌍', words(100), words(20000), Buffer.alloc(0), Buffer.from([0, 255, 128]),
                  Buffer.alloc(70000, 'b'), Buffer.alloc(3000000, 7)];
const offers = {no: false, yes: true, contexts: {clientNoContextTakeover: false, serverNoContextTakeover: false},
                narrow: {serverMaxWindowBits: 10, clientMaxWindowBits: 9}};

function connected(options) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, options);
    socket.on('open', () => resolve(socket));
    socket.on('error', reject);
  });
}
const next = (socket) => new Promise((resolve, reject) => {
  socket.once('message', (data, binary) => resolve(binary ? data : data.toString()));
  socket.once('close', (code) => reject(new Error(`closed with ${code}`)));
});
const same = (a, b) => typeof a === typeof b && (typeof a === 'string' ? a === b : Buffer.compare(a, b) === 0);

async function echo() {
  const socket = await connected({perMessageDeflate: offers[argument]});
  const agreed = socket.extensions !== '';
  for (const message of messages) {
    const answer = next(socket);
    socket.send(message);
    if (!same(await answer, message)) fail(`${message.length} bytes came back otherwise`);
  }
  const whole = next(socket);
  for (let i = 0; i < 100; i++) socket.send('part ', {fin: false});
  socket.send('end', {fin: true});
  if (await whole !== 'part '.repeat(100) + 'end') fail('fragments came back otherwise');
  const pong = new Promise((resolve) => socket.once('pong', (data) => resolve(data.toString())));
  socket.ping('are you there');
  if (await pong !== 'are you there') fail('another pong');
  const closed = new Promise((resolve) => socket.once('close', (code, why) => resolve(`${code} ${why}`)));
  socket.close(4001, 'that was all');
  if (!(await closed).startsWith('4001')) fail(`closed with ${await closed}`);
  console.log(agreed ? 'compressed' : 'plain');
}

async function room() {
  const kinds = Object.values(offers);
  const all = [];
  for (let i = 0; i < Number(argument); i++)
    all.push(await connected({perMessageDeflate: kinds[i % kinds.length]}));
  for (let i = 0; i < all.length; i++) {
    const heard = all.map(next);
    const said = 'B' + words(i * 40);
    all[i].send(said);
    for (const one of await Promise.all(heard)) if (one !== said) fail('heard something else');
  }
  for (const one of all) one.terminate();
  console.log('heard');
}

function serve() {
  const server = new WebSocket.Server({host: '127.0.0.1', port: 0, perMessageDeflate: {threshold: 0}},
                                      () => console.log(server.address().port));
  server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, {binary})));
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}

(mode === 'serve' ? async () => serve() : mode === 'echo' ? echo : room)().catch((error) => fail(String(error)));
