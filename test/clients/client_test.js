// KyroDB asked by @grpc/grpc-js: the calls that people make, streams both ways, errors, a deadline,
// cancelling, compression, a restart.
//
// usage: node client_test.js BINARY PROTO_DIRECTORY   (with @grpc/grpc-js and @grpc/proto-loader)
'use strict';

const assert = require('assert');
const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [binary, protos] = process.argv.slice(2);
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'kyro-grpc-js-'));
const definition = loader.loadSync(path.join(protos, 'kyrodb.proto'), { longs: String, keepCase: true, defaults: true });
const { kyrodb } = grpc.loadPackageDefinition(definition);
const unlimited = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
let kv;

function connect(address, options = {}) {
  return new kyrodb.v1.KV(address, grpc.credentials.createInsecure(), { ...unlimited, ...options });
}

// Starts the server, on a port that the kernel chooses or on the one it had.
function serve(port) {
  const server = spawn(binary, ['serve', '127.0.0.1', port, '--data-dir', path.join(directory, 'data')]);
  return new Promise((resolve, reject) => {
    let text = '';
    server.once('exit', () => reject(new Error(text)));
    server.stderr.on('data', (piece) => {
      text += piece;
      const found = /serving address=127\.0\.0\.1:(\d+)/.exec(text);
      if (found) resolve({ server, port: found[1] });
    });
  });
}
function stop(server) {
  return new Promise((resolve) => {
    server.once('exit', resolve);
    server.kill('SIGTERM');
  });
}

function call(method, request, options = {}) {
  return new Promise((resolve, reject) => {
    kv[method](request, options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

function all(stream) {
  return new Promise((resolve, reject) => {
    const seen = [];
    stream.on('data', (item) => seen.push(item));
    stream.on('end', () => resolve(seen));
    stream.on('error', reject);
  });
}

async function fails(code, promise) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.code, code, error.message);
    return true;
  });
}

async function main() {
  const started = await serve('0');
  const address = `127.0.0.1:${started.port}`;
  kv = connect(address, { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 200 });
  const largest = '18446744073709551615';
  const written = await call('Put', { key: largest, value: Buffer.from('edge') });
  assert.strictEqual(written.created, true);
  const got = await call('Get', { key: largest });
  assert.strictEqual(got.value.toString(), 'edge');
  assert.strictEqual(got.offset, written.offset);
  await fails(grpc.status.NOT_FOUND, call('Get', { key: 404 }));
  await fails(grpc.status.ABORTED, call('Put', { key: largest, value: Buffer.from('x'), condition: { absent: true } }));

  const big = Buffer.alloc(8 << 20, 'b');
  await call('Put', { key: 8, value: big });
  assert.ok((await call('Get', { key: 8 })).value.equals(big));

  const operations = [];
  for (let key = 100; key < 150; ++key) operations.push({ put: { key, value: Buffer.from(String(key)) } });
  assert.strictEqual((await call('Write', { operations })).count, '50');
  const records = await all(kv.Scan({ first: 100, end: 150 }));
  assert.deepStrictEqual(records.map((r) => r.key), operations.map((o) => String(o.put.key)));
  const { items } = await call('MultiGet', { keys: [100, 999] });
  assert.deepStrictEqual(items.map((i) => i.found), [true, false]);

  const puts = kv.PutStream();
  const answered = all(puts);
  for (let key = 200; key < 300; ++key) puts.write({ key, value: Buffer.from('s') });
  puts.end();
  const answers = await answered;
  assert.strictEqual(answers.length, 100);
  assert.ok(answers.every((a) => a.code === 0));

  const subscription = kv.Subscribe({ from_offset: written.offset });
  const first = await new Promise((resolve, reject) => {
    subscription.once('data', resolve);
    subscription.once('error', reject);
  });
  assert.strictEqual(first.key, largest);
  const cancelled = fails(grpc.status.CANCELLED, all(subscription));
  subscription.cancel();
  await cancelled;

  const late = kv.Subscribe({}, { deadline: Date.now() + 300 });
  await fails(grpc.status.DEADLINE_EXCEEDED, all(late));
  await fails(grpc.status.DEADLINE_EXCEEDED, call('Wait', { key: 404, wait_secs: 30 }, { deadline: Date.now() + 300 }));

  const zipped = connect(address, { 'grpc.default_compression_algorithm': 2 });
  await fails(grpc.status.UNIMPLEMENTED, new Promise((resolve, reject) => {
    zipped.Get({ key: largest }, (error, answer) => (error ? reject(error) : resolve(answer)));
  }));
  zipped.close();

  // A channel comes back after a restart, and its streams hear of the end.
  const open = kv.Subscribe({ from_offset: written.offset });
  await new Promise((resolve) => open.once('data', resolve));
  const ended = fails(grpc.status.UNAVAILABLE, all(open));
  assert.strictEqual(await stop(started.server), 0);
  await ended;
  const again = await serve(started.port);
  const after = await new Promise((resolve, reject) => {
    const metadata = new grpc.Metadata({ waitForReady: true });
    kv.Get({ key: largest }, metadata, { deadline: Date.now() + 30000 },
      (error, answer) => (error ? reject(error) : resolve(answer)));
  });
  assert.strictEqual(after.value.toString(), 'edge');
  kv.close();
  assert.strictEqual(await stop(again.server), 0);
  console.log('all of it');
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
}).finally(() => {
  fs.rmSync(directory, { recursive: true, force: true });
  process.exit();
});
